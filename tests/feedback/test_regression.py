"""Corrected cases: one side or the other for good; what a model has fixed is counted beside the champion."""

from __future__ import annotations

from pathlib import Path

import pyarrow as arrow
import pytest
from pyarrow import parquet
from registered import scored

from posttrain.artifacts import Workspace
from posttrain.feedback.regression import fixed, side, suite

CASES = [{"prompt": f"play song {n}", "completion": f"answer {n}", "system": ""} for n in range(400)]


def test_a_case_is_on_one_side_whatever_else_there_is(tmp_path: Path) -> None:
    held = {case["prompt"] for case in CASES if side(case["prompt"], 0.3) == "regression"}
    assert len(held) == pytest.approx(120, abs=25)
    found = suite(CASES, "To JSON.", 0.3, Workspace(tmp_path))
    assert found is not None
    rows = parquet.read_table(found.rows.uri).to_pylist()
    assert {row["prompt"] for row in rows} == held
    assert {row["system"] for row in rows} == {"To JSON."}
    smaller = suite(CASES[:200], "To JSON.", 0.3, Workspace(tmp_path))
    assert smaller is not None
    assert {row["prompt"] for row in parquet.read_table(smaller.rows.uri).to_pylist()} == held & {
        case["prompt"] for case in CASES[:200]
    }


def test_spelling_and_instruction_do_not_change_the_side() -> None:
    assert all(side(case["prompt"].upper() + "!", 0.3) == side(case["prompt"], 0.3) for case in CASES)


def test_a_larger_share_only_adds_to_the_suite() -> None:
    small, large = (
        {case["prompt"] for case in CASES if side(case["prompt"], share) == "regression"} for share in (0.2, 0.5)
    )
    assert small < large


def test_nothing_held_back_is_no_suite(tmp_path: Path) -> None:
    assert suite([], "", 0.3, Workspace(tmp_path)) is None
    assert suite(CASES, "", 0.0, Workspace(tmp_path)) is None
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
