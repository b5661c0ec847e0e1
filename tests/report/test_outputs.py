"""Which rows are shown, and what is marked in them."""

from __future__ import annotations

from pathlib import Path

from reports import outputs

from posttrain import report


def test_side_by_side_shows_mistakes_then_differences_then_agreement(tmp_path: Path) -> None:
    """20 rows: the last model is wrong in r0-r9, right alone in r10-r14, right with the first in r15-r19."""
    first = outputs(tmp_path, "base", [False] * 15 + [True] * 5)
    last = outputs(tmp_path, "sft", [False] * 10 + [True] * 10)
    rows = report.side_by_side({"Base": first, "SFT": last}, rows=12)
    verdicts = [(row.right["Base"], row.right["SFT"]) for row in rows]
    assert verdicts == [(False, False)] * 6 + [(False, True)] * 4 + [(True, True)] * 2
    assert rows[0].outputs == {"Base": "base 0", "SFT": "sft 0"}
    assert rows == report.side_by_side({"Base": first, "SFT": last}, rows=12)


def test_side_by_side_keeps_to_rows_that_all_answered(tmp_path: Path) -> None:
    first = outputs(tmp_path, "base", [True, True, True], skip=1)
    last = outputs(tmp_path, "sft", [True, True, True])
    assert [row.prompt for row in report.side_by_side({"Base": first, "SFT": last})] == ["prompt 0", "prompt 2"]
    assert report.side_by_side({}) == ()
