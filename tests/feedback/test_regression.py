"""Corrected cases: one side or the other for good; what a model has fixed is counted beside the champion."""

from __future__ import annotations

from pathlib import Path

import pyarrow as arrow
import pytest
from pyarrow import parquet
from registered import scored

from posttrain.artifacts import Workspace
from posttrain.feedback import Answer, Item, Output
from posttrain.feedback.held_back import TAG, side, split
from posttrain.feedback.regression import corrected, fixed, suite
from posttrain.feedback.rows import rows_of

SHARE = 0.3


def item(prompt: str, tag: str = TAG) -> Item:
    return Item.new("correction", prompt, outputs=[Output("bad", "m version 1")], tag=tag)


ITEMS = [item(f"play song {n}") for n in range(400)]
ANSWERS = [Answer(each.id, "ann", "correction", text=f"right {each.prompt}") for each in ITEMS]


def test_what_is_learnt_and_what_is_tested_never_overlap() -> None:
    learnt, tested = split(ITEMS, SHARE)
    assert len(tested) == pytest.approx(120, abs=25)
    assert len(learnt) + len(tested) == 400
    rows = {row["prompt"] for row in rows_of(learnt, ANSWERS).completions}
    assert rows.isdisjoint(case["prompt"] for case in corrected(ITEMS, ANSWERS, SHARE))
    pairs = {row["prompt"] for row in rows_of(learnt, ANSWERS).pairs}
    assert pairs == rows


def test_a_case_stays_on_its_side_whatever_comes_later() -> None:
    before = {each.prompt for each in split(ITEMS[:200], SHARE)[1]}
    assert before == {each.prompt for each in split(ITEMS, SHARE)[1]} & {each.prompt for each in ITEMS[:200]}
    assert all(side(each.prompt.upper() + "!", SHARE) == side(each.prompt, SHARE) for each in ITEMS)


def test_a_larger_share_only_adds_to_what_is_tested() -> None:
    small, large = ({each.prompt for each in split(ITEMS, share)[1]} for share in (0.2, 0.5))
    assert small < large


def test_other_items_in_the_words_of_a_tested_case_are_not_learnt() -> None:
    tested = split(ITEMS, SHARE)[1][0]
    same, other = item(tested.prompt.upper(), tag="survey"), item("another prompt", tag="survey")
    learnt, _ = split([tested, same, other], SHARE)
    assert learnt == [other]


def test_the_suite_has_the_corrected_cases_under_the_tasks_instruction(tmp_path: Path) -> None:
    found = suite(corrected(ITEMS, ANSWERS[:200], SHARE), "To JSON.", Workspace(tmp_path))
    assert found is not None
    rows = parquet.read_table(found.rows.uri).to_pylist()
    assert {row["prompt"] for row in rows} == {each.prompt for each in split(ITEMS[:200], SHARE)[1]}
    assert all(row["completion"] == f"right {row['prompt']}" and row["system"] == "To JSON." for row in rows)


def test_nothing_corrected_is_no_suite(tmp_path: Path) -> None:
    assert suite(corrected(ITEMS, [], SHARE), "", Workspace(tmp_path)) is None
    assert suite(corrected(ITEMS, ANSWERS, 0.0), "", Workspace(tmp_path)) is None
    assert not (tmp_path / "stages").exists()


def test_fixed_is_counted_beside_the_champion(tmp_path: Path) -> None:
    ours, theirs = scored(tmp_path, "ours", [1, 1, 1, 0, 0]), scored(tmp_path, "theirs", [0, 0, 1, 1, 0])
    found = fixed(ours, theirs)
    assert found is not None
    assert found.in_words == "fixed 3 of 5, still failing 2; the champion has 2 of them right, and 1 of those is lost"
    alone = fixed(ours)
    assert alone is not None
    assert alone.in_words == "fixed 3 of 5, still failing 2"


def test_answers_that_are_never_right_in_full_are_not_counted(tmp_path: Path) -> None:
    scores = scored(tmp_path, "chat", [1, 0])
    parquet.write_table(arrow.table({"id": ["0", "1"], "rouge_l": [0.5, 0.2]}), scores.outputs.uri)
    assert fixed(scores) is None
