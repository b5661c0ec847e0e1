"""Duplicates: each step finds what comparing every row with every other would find, whatever the batches."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from posttrain.data.engine import Local
from posttrain.data.steps.duplicates import Exact, Near, clusters
from posttrain.data.steps.duplicates.sketch import Bands, minima, sketch, spread
from posttrain.data.table import Table, TableWriter
from posttrain.data.text.codes import Ragged, mixed
from posttrain.data.text.words import key

SHIPPED = Path(__file__).resolve().parents[2] / "data"


def table(folder: Path, rows: list[dict[str, str]], name: str = "rows") -> Table:
    """A table of these rows; ids are "0", "1", … unless given."""
    frame = pl.DataFrame([{"id": str(number), **row} for number, row in enumerate(rows)])
    with TableWriter(folder / f"{name}.parquet", frame.columns) as writer:
        writer.write(frame)
    return Table(folder / f"{name}.parquet")


def prompts(*texts: str, completion: str = "{}") -> list[dict[str, str]]:
    return [{"prompt": text, "completion": completion} for text in texts]


def label(**slots: str) -> str:
    return json.dumps({"intent": "Play", "slots": slots}, ensure_ascii=False)


def found(step: Exact | Near, rows: Table, workers: int = 1) -> list[tuple[int, str]]:
    return [(row, twin) for row, _, _, _, twin in step.search(rows, Local(workers)).iter_rows()]


def shingles(text: str) -> set[str]:
    plain = f" {key(text)} "
    return {plain[at : at + 4] for at in range(max(1, len(plain) - 3))}


def jaccard(one: str, other: str) -> float:
    return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))


def greedy(texts: list[str], threshold: float) -> dict[int, int]:
    """Row -> first earlier kept row that it is like, by comparing all with all."""
    twins: dict[int, int] = {}
    sets = [shingles(text) for text in texts]
    for second in range(len(texts)):
        for first in range(second):
            if first not in twins:
                both = len(sets[first] & sets[second])
                if both / (len(sets[first]) + len(sets[second]) - both) >= threshold:
                    twins[second] = first
                    break
    return twins


class TwoAtATime(Table):
    """The same table in batches of two rows."""

    def batches(self, columns: Any = None, size: int = 2) -> Iterator[pl.DataFrame]:
        return super().batches(columns, size)


def test_exact_ignores_case_spacing_and_punctuation_but_not_labels(tmp_path: Path) -> None:
    rows = table(
        tmp_path,
        [
            {"prompt": "Play Noir!", "completion": label(artist="Noir")},
            {"prompt": "play  noir", "completion": label(artist="noir")},
            {"prompt": "play noir", "completion": label(album="noir")},
            {"prompt": "Is it?", "completion": "Yes."},
            {"prompt": "is it", "completion": "yes"},
            {"prompt": "is it", "completion": "no"},
            {"prompt": "i sit", "completion": "yes"},
        ],
    )
    assert found(Exact(), rows) == [(1, "0"), (4, "3")]
    first = Exact().search(rows, Local()).row(0, named=True)
    assert (first["verdict"], first["value"], first["threshold"]) == ("drop", "same words as row 0", "once")


def test_exact_takes_texts_without_words_at_their_characters(tmp_path: Path) -> None:
    assert found(Exact(), table(tmp_path, prompts("👍", "👎", "👍", "", "", "?"))) == [(2, "0"), (4, "3")]


def test_exact_tells_columns_and_labels_apart(tmp_path: Path) -> None:
    pairs = [("a", "b c", "d"), ("a b", "c", "d"), ("a", "d", "b c"), ("A", "b, c", "d!")]
    rows = [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in pairs]
    assert found(Exact(), table(tmp_path, rows)) == [(3, "0")]
    judged = [{"prompt": "a", "completion": "b", "label": value} for value in ("true", "false", "true")]
    assert found(Exact(), table(tmp_path, judged, "judged")) == [(2, "0")]


def test_near_drops_a_twin_of_the_same_label_only(tmp_path: Path) -> None:
    same, other = label(place="Great Escape"), label(place="great escape theatre")
    rows = [
        {"prompt": "find the movie schedule for great escape theatres", "completion": same},
        {"prompt": "find me the movie schedule for great escape theatres", "completion": same},
        {"prompt": "find the movie schedule for great escape theatre", "completion": other},
        {"prompt": "book a table for two", "completion": same},
    ]
    rows_of = table(tmp_path, rows)
    # 47 distinct runs of four; "me " adds four and takes "d th" and "nd t" away: 45 / (47 + 49 - 45).
    share = 45 / 51
    assert jaccard(rows[0]["prompt"], rows[1]["prompt"]) == share
    assert found(Near(share), rows_of) == [(1, "0")]
    assert found(Near(share + 0.01), rows_of) == []
    finding = Near(share).search(rows_of, Local()).row(0, named=True)
    assert (finding["value"], finding["threshold"]) == (f"{share:.2f} like row 0", f"below {share:g}")
    assert Near(1).search(rows_of, Local()).height == 0
    assert clusters(rows_of, 0.75, Local()).tolist() == [0, 0, 0, 1]  # whatever their labels


def test_near_compares_prose_with_its_answer_and_rejected_with_rejected(tmp_path: Path) -> None:
    long = "a long answer that explains the whole thing in some detail and then stops"
    other = "something else entirely, told in a few quite different words instead"
    rows = [{"prompt": "same question", "completion": text} for text in (long, other, long + " here")]
    assert found(Near(0.85), table(tmp_path, rows)) == [(2, "0")]
    pairs = [(long, other), (other, long), (long + " now", other)]
    swapped = [{"prompt": "same", "chosen": chosen, "rejected": rejected} for chosen, rejected in pairs]
    assert found(Near(0.85), table(tmp_path, swapped, "pairs")) == [(2, "0")]


def test_a_passage_that_prompts_share_does_not_make_rows_duplicates(tmp_path: Path) -> None:
    passage = "wood is used for furniture such as chairs and beds, for tool handles and for cutlery like spoons"
    answers = ("Chairs and beds.", "Chopsticks and spoons!", "For chairs and beds.")
    rows = [{"prompt": f"{passage} {number}", "completion": text} for number, text in enumerate(answers)]
    assert jaccard(f"{passage} 0 {answers[0]}", f"{passage} 2 {answers[2]}") > 0.85 > jaccard(answers[0], answers[2])
    assert found(Near(0.85), table(tmp_path, rows)) == []
    assert found(Near(0.7), table(tmp_path, rows)) == [(2, "0")]  # 14 of the 18 runs of " for chairs and beds "


def test_a_row_is_compared_with_kept_rows_only(tmp_path: Path) -> None:
    """Windows on one text, each like its neighbors only: the second goes, so the third stays, and drops the fourth."""
    words = [f"{letter}{letter}{other}{letter}" for letter in "abcdefgh" for other in "klmn"]
    chain = [" ".join(words[start : start + 12]) for start in range(12)]
    threshold = jaccard(chain[0], chain[1]) - 0.001
    assert jaccard(chain[1], chain[2]) >= threshold > jaccard(chain[0], chain[2])
    rows = table(tmp_path, prompts(*chain))
    assert found(Near(threshold), rows) == [(row, str(row - 1)) for row in range(1, 12, 2)]
    assert clusters(rows, threshold, Local()).tolist() == [0] * 12
    mixed_up = random.Random(1).sample(chain * 2, 24)
    got = {row: int(twin) for row, twin in found(Near(threshold), table(tmp_path, prompts(*mixed_up), "mixed"))}
    assert got == greedy(mixed_up, threshold)


def texts_with_twins(count: int) -> list[str]:
    """Shipped answers, each with probability a half followed later by a copy with a few words changed."""
    with gzip.open(next(SHIPPED.glob("general/*.jsonl.gz"))) as lines:
        rows = [json.loads(line) for line in lines]
    base = [text for row in rows for text in row.values() if isinstance(text, str) and len(text) > 60][:count]
    chance = random.Random(0)
    copies = []
    for text in base:
        if chance.random() < 0.5:
            words = text.split()
            for _ in range(chance.randrange(1, 4)):
                words[chance.randrange(len(words))] = chance.choice(words)
            copies.append(" ".join(words))
    return [*base, *copies]


def test_near_finds_what_comparing_all_with_all_finds(tmp_path: Path) -> None:
    texts = texts_with_twins(250)
    rows = table(tmp_path, prompts(*texts))
    for threshold in (0.85, 0.7):
        expected = greedy(texts, threshold)
        got = {row: int(twin) for row, twin in found(Near(threshold), rows)}
        assert len(expected) > 50
        assert all(jaccard(texts[row], texts[twin]) >= threshold for row, twin in got.items())
        missed = set(expected) - set(got)
        assert len(missed) <= 0.02 * len(expected)


def test_many_copies_and_many_of_one_template(tmp_path: Path) -> None:
    """Of 700 texts that differ in a number one stays; 280 of one template stay, their 20 twins go."""
    chance = random.Random(0)
    long = "the quick brown fox jumps over the lazy dog and runs away through the dark green forest to its den"
    copies = [f"{long} {number}" for number in range(700)]
    letters = "bcdfghklmnprstvz"
    template = "write a short story for me that is about"
    made = [f"{template} {' '.join(''.join(chance.choices(letters, k=6)) for _ in range(9))}" for _ in range(280)]
    twins = [f"{text}s" for text in made[:20]]
    got = dict(found(Near(0.8), table(tmp_path, prompts(*copies, *made, *twins))))
    assert {row for row in got if row < 700} == set(range(1, 700))
    assert set(got.values()) <= {"0", *(str(700 + number) for number in range(20))}
    assert {row for row in got if row >= 700} == set(range(980, 1000))


def test_texts_without_words_are_like_no_other(tmp_path: Path) -> None:
    rows = table(tmp_path, prompts("...", "!!!", "", "👍", "word", "word "))
    assert found(Near(0.5), rows) == [(5, "4")]
    assert clusters(rows, 0.5, Local()).tolist() == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("step", [Exact(), Near(0.8)])
def test_batches_and_dead_rows_change_nothing(tmp_path: Path, step: Exact | Near) -> None:
    texts = texts_with_twins(60)
    rows = table(tmp_path, prompts(*texts, *texts[:5]))
    expected = step.search(rows, Local())
    assert expected.height >= 5
    assert step.search(TwoAtATime(rows.path), Local()).equals(expected)
    dead = rows.without([0, 10])
    got = step.search(dead, Local())
    assert not {0, 10} & set(got["row"])
    assert "0" not in set(got["twin"])
    assert step.search(TwoAtATime(rows.path, dead.alive), Local()).equals(got)


def test_empty_table(tmp_path: Path) -> None:
    rows = table(tmp_path, prompts("a")).without([0])
    assert found(Exact(), rows) == []
    assert found(Near(0.85), rows) == []
    assert clusters(rows, 0.85, Local()).tolist() == []


def test_worker_processes_find_the_same(tmp_path: Path) -> None:
    rows = TwoAtATime(table(tmp_path, prompts(*texts_with_twins(10))).path)
    assert Near(0.8).search(rows, Local(2)).equals(Near(0.8).search(rows, Local()))


def test_bands_find_99_percent_at_the_threshold() -> None:
    for threshold in (0.5, 0.7, 0.85, 0.95):
        bands = Bands.of(threshold)
        assert bands.bins <= 128
        assert 1 - (1 - threshold**bands.width) ** bands.count >= 0.99
    assert Bands.of(0.85) == Bands(15, 8)  # 1 - (1 - 0.2725) ** 15 = 0.9915


@pytest.mark.parametrize("size", [4, 30, 200, 2000])
def test_bins_agree_as_often_as_shingles_are_shared(size: int) -> None:
    """Of two texts of `size` shingles c = 3/4 are the same: c / (2 * size - c), about 0.6, of the bins agree."""
    numbers = np.random.default_rng(size)
    pairs, common = 200, size * 3 // 4
    share = common / (2 * size - common)
    shared = numbers.integers(0, 2**63, (pairs, common))
    ends = np.arange(1, pairs + 1) * size

    def made() -> np.ndarray:
        own = numbers.integers(0, 2**63, (pairs, size - common))
        values = mixed(np.hstack((shared, own)).reshape(-1).astype(np.uint64))
        return minima(Ragged(values, ends - size, ends), 120)

    agree = made() == made()
    deviation = (share * (1 - share) / 120) ** 0.5
    assert abs(agree.mean() - share) < 4 * deviation / pairs**0.5
    assert agree.mean(axis=1).std() < 1.2 * deviation


def test_marks_estimate_the_similarity() -> None:
    bands = Bands.of(0.85)
    texts = texts_with_twins(200)
    made = sketch(pl.Series(texts), np.zeros(len(texts), np.uint64), bands)
    first, second = np.arange(200), np.arange(200, 400) % len(texts)
    expected = np.array([jaccard(texts[i], texts[j]) for i, j in zip(first, second, strict=True)])
    estimate = made.likeness(first, second, bands.bins)
    errors = np.abs(estimate - expected) / [spread(share, bands.bins) for share in expected]
    assert errors.max() < 4.5
    assert 0.2 < errors.mean() < 1.2
