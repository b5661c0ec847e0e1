"""Rows that say the same in other words: one stays; whatever only looks alike stays too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from posttrain.data.embedding import neighbors, vectors
from posttrain.data.embedding.neighbors import joined, settle, touched
from posttrain.data.embedding.vectors import VectorFile
from posttrain.data.engine import Local
from posttrain.data.steps import TableStep
from posttrain.data.steps.semantic import SemanticDuplicates
from posttrain.data.table import Table, TableWriter
from posttrain.spec.sections.semantic import SemanticSpec

BREAD = "How do I bake bread at home?"
BREAD_AGAIN = "What is the way to bake bread at home?"
LOAF = "Mix flour, water, salt and yeast, let the dough rise, and bake it in a hot oven."
LOAF_AGAIN = "Mix yeast, salt, flour and water, let the dough rise and then bake it in a hot oven."


def table(tmp_path: Path, *rows: dict[str, str]) -> Table:
    columns = ("id", "source", "system", *dict.fromkeys(name for row in rows for name in row))
    with TableWriter(tmp_path / "rows.parquet", columns) as writer:
        writer.write(pl.DataFrame([{"id": f"r{at}", "source": f"x:{at}", **row} for at, row in enumerate(rows)]))
    return Table(tmp_path / "rows.parquet")


def asked(prompt: str, completion: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": completion}


def twins(found: pl.DataFrame) -> dict[int, str]:
    return dict(zip(found["row"].to_list(), found["twin"].to_list(), strict=True))


def test_a_row_in_other_words_is_dropped_with_its_twin(tmp_path: Path) -> None:
    step = SemanticDuplicates()
    assert isinstance(step, TableStep)
    rows = table(tmp_path, asked(BREAD, LOAF), asked("Sing a song", "La la la"), asked(BREAD_AGAIN, LOAF_AGAIN))
    found = step.search(rows, Local()).to_dicts()
    assert [(row["row"], row["twin"], row["verdict"], row["threshold"]) for row in found] == [
        (2, "r0", "drop", "below 0.85")
    ]
    like, words = found[0]["value"].split(" ", 1)
    assert 0.85 <= float(like) <= 1
    assert words == "like row r0"
    assert list(tmp_path.iterdir()) == [rows.path]


def test_what_only_looks_alike_stays(tmp_path: Path) -> None:
    rows = table(
        tmp_path,
        asked(BREAD, LOAF),
        asked(BREAD_AGAIN, "Buy a bread maker and follow its manual."),  # another answer
        asked("How is a stone oven used?", LOAF),  # another question
    )
    assert SemanticDuplicates().search(rows, Local()).height == 0


def test_prompts_with_other_numbers_stay(tmp_path: Path) -> None:
    rows = table(
        tmp_path,
        asked("Tom has 3 apples and buys 4 more. How many has he?", "He has some apples."),
        asked("Tom has 3 apples and buys 9 more. How many has he?", "He has some apples."),
    )
    assert SemanticDuplicates().search(rows, Local()).height == 0
    loose = SemanticDuplicates(SemanticSpec(same_numbers=False)).search(rows, Local())
    assert twins(loose) == {1: "r0"}


def test_labels_must_be_the_same_and_answers_in_prose_need_not(tmp_path: Path) -> None:
    def play(artist: str) -> str:
        return json.dumps({"intent": "Play", "slots": {"artist": artist}})

    rows = table(
        tmp_path,
        asked("play some music by Noir", play("Noir")),
        asked("please play me some music by Noir", play("noir")),
        asked("please play some music by Noir", play("by Noir")),
    )
    assert twins(SemanticDuplicates().search(rows, Local())) == {1: "r0"}


def test_chinese_repetitions_are_found_and_other_questions_stay(tmp_path: Path) -> None:
    rows = table(
        tmp_path,
        asked("简要解释什么是碳抵消。", "碳抵消是指用减排来补偿排放的做法，常见的有植树和清洁能源项目。"),
        asked("网站账户创建流程描述。", "碳抵消是指用减排来补偿排放的做法，常见的有植树和清洁能源项目。"),
        asked("请简要解释什么是碳抵消。", "碳抵消是指用减排来补偿排放的做法，常见的有植树和清洁能源项目吧。"),
    )
    assert twins(SemanticDuplicates().search(rows, Local())) == {2: "r0"}


def test_pairs_are_alike_when_both_of_their_answers_are(tmp_path: Path) -> None:
    def pair(prompt: str, chosen: str, rejected: str) -> dict[str, str]:
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected}

    rows = table(
        tmp_path,
        pair(BREAD, LOAF, "I do not know."),
        pair(BREAD_AGAIN, LOAF_AGAIN, "I don't know."),
        pair(BREAD_AGAIN, LOAF_AGAIN, "Buy it in a shop around the corner."),
        pair(BREAD, "I do not know.", LOAF),
    )
    assert twins(SemanticDuplicates().search(rows, Local())) == {1: "r0"}


def test_rows_that_are_gone_are_no_twins_and_batches_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table(tmp_path, *[asked(BREAD, LOAF), asked(f"{BREAD}!", f"{LOAF} Enjoy!"), asked("Sing", "La")] * 2)
    step = SemanticDuplicates(SemanticSpec(model="lexical"), store=str(tmp_path / "store"))
    assert twins(step.search(rows, Local())) == {1: "r0", 3: "r0", 4: "r0", 5: "r2"}
    monkeypatch.setattr(vectors, "BATCH", 2)
    assert twins(step.search(rows.without([0, 2]), Local())) == {3: "r1", 4: "r1"}


# --- the search itself, against comparing everything with everything ---------------------------------------------


def clouds(rows: int, width: int = 48, seed: int = 0) -> np.ndarray:
    """Unit vectors around some centers: many cosines on either side of 0.85."""
    random = np.random.default_rng(seed)
    centers = random.normal(size=(rows // 20, width))
    found = centers[random.integers(0, len(centers), rows)] + random.normal(size=(rows, width)) * 0.45
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def by_hand(products: np.ndarray, same: np.ndarray, threshold: float) -> np.ndarray:
    """The first kept row that each row is like, or -1: row by row, against every one before it."""
    twin = np.full(len(products), -1)
    for row in range(len(products)):
        for before in range(row):
            if twin[before] < 0 and same[row] == same[before] and products[row, before] >= threshold:
                twin[row] = before
                break
    return twin


def stored(tmp_path: Path, found: np.ndarray) -> VectorFile:
    file = VectorFile(tmp_path / "v.f16", found.shape[1])
    file.append(found)
    return file


@pytest.mark.parametrize("block", [64, 4096])
def test_the_search_finds_what_comparing_everything_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(neighbors, "BLOCK", block)
    monkeypatch.setattr(neighbors, "SKETCH", 12)  # most of a vector is not in its sketch
    found, same = clouds(600), np.arange(600, dtype=np.uint64) % 3
    products = found.astype(np.float32) @ found.astype(np.float32).T
    expected = by_hand(products, same, 0.85)
    assert 100 < (expected >= 0).sum() < 500
    with stored(tmp_path, found) as file:
        twin = settle(file, same, 0.85)
        assert (twin.row == expected).all()
        rows = np.flatnonzero(expected >= 0)
        assert twin.similarity[rows] == pytest.approx(products[rows, expected[rows]], abs=1e-5)
        others = (products >= 0.85) & (same[:, None] == same) & ~np.eye(600, dtype=bool)
        assert (touched(file, same, 0.85) == others.any(axis=1)).all()


def test_of_two_parts_the_mean_counts_and_each_has_its_least(tmp_path: Path) -> None:
    one, other = clouds(300, seed=1), clouds(300, seed=1)[:, ::-1].copy()
    other[::2] = clouds(300, seed=2)[::2]
    first, second = (part.astype(np.float32) @ part.astype(np.float32).T for part in (one, other))
    allowed = np.where((first >= 0.8) & (second >= 0.7), (first + second) / 2, 0)
    same = np.zeros(300, np.uint64)
    expected = by_hand(allowed, same, 0.8)
    assert (expected >= 0).sum() > 20
    assert (expected != by_hand(np.minimum(first, second), same, 0.8)).any()
    with stored(tmp_path, joined([one.astype(np.float32), other.astype(np.float32)])) as file:
        twin = settle(file, same, 0.8, [0.8, 0.7])
    assert (twin.row == expected).mean() > 0.99  # rounding to 16 bits twice moves a cosine by up to 0.001


def test_clusters_miss_few_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, same = clouds(4000, width=96), np.zeros(4000, np.uint64)
    with stored(tmp_path, found) as file:
        whole = settle(file, same, 0.85).row >= 0
        monkeypatch.setattr(neighbors, "EXACT", 1000)
        parts = settle(file, same, 0.85).row >= 0
    assert whole.sum() > 500
    assert (whole & parts).sum() >= 0.98 * whole.sum()
    assert parts.sum() <= 1.01 * whole.sum()
