"""Decontamination: rows that give a held-out row away go, with the words that do; template text gives nothing away."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from posttrain.data.steps.decontaminate import Decontaminate
from posttrain.data.table import Table, TableWriter
from posttrain.data.text.word_runs import Lookup, runs
from posttrain.data.text.words import words


def table(path: Path, rows: list[dict[str, str]]) -> Table:
    frame = pl.DataFrame(rows)
    with TableWriter(path, frame.columns) as writer:
        writer.write(frame)
    return Table(path)


def held_out(folder: Path, *prompts: str, completion: str = "{}") -> Table:
    """Held-out rows t1, t2, …"""
    rows = [{"id": f"t{number}", "prompt": text, "completion": completion} for number, text in enumerate(prompts, 1)]
    return table(folder / "held_out.parquet", rows)


def found(step: Decontaminate, *rows: tuple[str, str]) -> list[tuple[int, str]]:
    columns = {"prompt": [prompt for prompt, _ in rows], "completion": [text for _, text in rows]}
    batch = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return [(row, twin) for row, _, _, _, twin in step.find(batch).iter_rows()]


def test_whole_prompts_and_shared_runs_of_words(tmp_path: Path) -> None:
    test = held_out(tmp_path, "Tell me the weather", "one two three four five six seven eight nine")
    rows = [
        ("tell me the weather!", "{}"),
        ("zero two three four five six, SEVEN eight nine ten", "{}"),  # shares eight words
        ("zero three four five six seven eight nine ten", "{}"),  # shares seven
        ("tell me the weather now", "{}"),
    ]
    step = Decontaminate.against([test], ngram=8)
    assert found(step, *rows) == [(0, "t1"), (1, "t2")]
    assert found(Decontaminate.against([test], ngram=0), *rows) == [(0, "t1")]
    said = step.find(pl.DataFrame({"prompt": [rows[1][0]]})).row(0, named=True)
    assert said["value"] == "shares 8 words: two three four five six seven eight nine"
    assert (said["threshold"], said["verdict"]) == ("fewer than 8 words", "drop")


def test_the_longest_stretch_is_quoted(tmp_path: Path) -> None:
    test = held_out(tmp_path, "a b c d e f g h i j", "k l m n o p q r")
    step = Decontaminate.against([test], ngram=8)
    said = step.find(pl.DataFrame({"prompt": ["k l m n o p q r x a b c d e f g h i j z"]})).row(0, named=True)
    assert (said["value"], said["twin"]) == ("shares 10 words: a b c d e f g h i j", "t1")


def test_answers_count_on_both_sides_but_labels_do_not(tmp_path: Path) -> None:
    answer = "because the sum of the first ten odd numbers is one hundred"
    step = Decontaminate.against([held_out(tmp_path, "Why?", completion=answer)], ngram=8)
    assert found(step, ("Explain", f"It is so {answer}."), (f"Is it {answer}", "no"), ("How?", "so")) == [
        (0, "t1"),
        (1, "t1"),
    ]
    label = '{"intent": "Play", "slots": {"artist": "a", "album": "b", "track": "c", "service": "d"}}'
    step = Decontaminate.against([held_out(tmp_path, "Play it", completion=label)], ngram=8)
    assert found(step, ("Another thing", label)) == []
    assert found(step, ("play it", label)) == [(0, "t1")]


def test_preference_rows(tmp_path: Path) -> None:
    text = "one two three four five six seven eight"
    step = Decontaminate.against([held_out(tmp_path, text)], ngram=8)
    batch = pl.DataFrame({"prompt": ["a", "b"], "chosen": ["x", text], "rejected": [f"So {text}", "y"]})
    assert step.find(batch)["row"].to_list() == [0, 1]


def test_chinese_needs_sixteen_characters(tmp_path: Path) -> None:
    verse = "床前明月光疑是地上霜举头望明月低头思故乡"
    step = Decontaminate.against([held_out(tmp_path, f"请解释：{verse}。")], ngram=8)
    batch = pl.DataFrame(
        {"prompt": [f"我读过{verse[:15]}", f"我读过，{verse[:16]}", verse[:8], "我用python写 " + verse]}
    )
    said = step.find(batch)
    assert said["row"].to_list() == [1, 3]
    assert said["value"][0] == "shares 16 characters: 床前明月光疑是地上霜举头望明月低"
    assert said["threshold"][0] == "fewer than 16 characters"


def template_rows(count: int, seed: int) -> list[dict[str, str]]:
    """Prompts of one template of twelve words; what follows it differs."""
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = []
    for number in range(count):
        own = " ".join("".join(chance.choices(letters, k=5)) for _ in range(12))
        text = f"Read the passage below and answer the question that follows it: the {own}"
        made.append({"id": f"{seed}-{number}", "prompt": text, "completion": "yes"})
    return made


def test_template_text_is_no_evidence_but_what_follows_it_is(tmp_path: Path) -> None:
    test, train = template_rows(5, 1), template_rows(200, 2)
    stolen = test[3]["prompt"].split(": ")[1]
    train += [{"id": f"copy-{number}", "prompt": f"{stolen} {number}", "completion": "no"} for number in range(30)]
    tables = table(tmp_path / "test.parquet", test), table(tmp_path / "train.parquet", train)
    step = Decontaminate.against([tables[0]], [tables[1]], ngram=8)
    said = step.find(tables[1].frame())
    assert said["row"].to_list() == list(range(200, 230))
    assert set(said["twin"]) == {"1-3"}
    # Without a sample of the training rows nobody can tell a template of five held-out rows from what they say.
    assert Decontaminate.against([tables[0]], ngram=8).find(tables[1].frame()).height == 230


def test_batches_change_nothing_and_steps_travel(tmp_path: Path) -> None:
    test, train = template_rows(20, 1), template_rows(40, 2)
    train[5]["prompt"] = test[7]["prompt"] + " now"
    train[9]["completion"] = "so " + test[8]["prompt"][60:]
    tables = table(tmp_path / "test.parquet", test), table(tmp_path / "train.parquet", train)
    step = Decontaminate.against([tables[0]], [tables[1]])
    whole = step.find(tables[1].frame())
    assert whole["row"].to_list() == [5, 9]
    again = pickle.loads(pickle.dumps(step))
    parts = [
        again.find(batch).with_columns(pl.col("row") + batch[Table.INDEX][0]) for batch in tables[1].batches(size=3)
    ]
    assert pl.concat(parts).equals(whole)


def test_nothing_held_out_and_texts_without_words(tmp_path: Path) -> None:
    empty = held_out(tmp_path, "?!", "").without([0, 1])
    assert found(Decontaminate.against([empty]), ("?!", ""), ("", "a")) == []
    assert found(Decontaminate.against([held_out(tmp_path, "?!", "")]), ("?!", ""), ("", "a")) == []
    assert found(Decontaminate.against([])) == []


@pytest.mark.parametrize("size", [1, 3, 8])
def test_runs_are_all_runs_of_words(size: int) -> None:
    texts = ["a b c d e f g h i j", "", "a b", "中文 a 中文", "x " * 30, "c d e f g h i j a b"]
    names: dict[int, tuple[str, ...]] = {}
    got: list[set[tuple[str, ...]]] = [set() for _ in texts]
    for some in runs(pl.Series(texts), size):
        for value, text, place, length in zip(some.hashes, some.texts, some.places, some.lengths, strict=True):
            run = tuple(words(texts[text])[place : place + length])
            assert names.setdefault(int(value), run) == run
            got[text].add(run)
    for text, mine in zip(texts, got, strict=True):
        found = words(text)
        expected = {tuple(found[at : at + size]) for at in range(len(found) - size + 1)}
        if "中" not in text:
            assert mine == expected
    assert len(set(names.values())) == len(names)


def test_lookup_finds_what_is_there() -> None:
    numbers = np.random.default_rng(0)
    values = np.unique(numbers.integers(0, 2**63, 3000).astype(np.uint64))
    wanted = np.concatenate((values[::7], numbers.integers(0, 2**63, 3000).astype(np.uint64)))
    at, place = Lookup(values).find(wanted)
    assert at.tolist() == list(range(len(values[::7])))
    assert (values[place] == wanted[at]).all()
    assert len(Lookup(values[:0]).find(wanted)[0]) == 0
