"""What was looked through is not looked through again, unless people said something new."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from posttrain.errors import WorkspaceError
from posttrain.feedback import watermark
from posttrain.feedback.watermark import Watermark
from posttrain.tracking.traces import ServedRequest

DAY = timedelta(days=1)
START = datetime(2026, 11, 30, tzinfo=UTC)


def request(name: str, days: float) -> ServedRequest:
    turns = ({"role": "user", "content": name},)
    return ServedRequest(name, START + days * DAY, "m", "1", turns, "out", "stop", 0.1)


def test_a_late_thumb_is_noticed_and_nothing_else_is_read_twice() -> None:
    served = [request("a", 0), request("b", 2)]
    mark = Watermark().after(served, DAY * 7)
    assert mark.fresh(served) == []
    disliked = replace(served[0], thumb="down")
    assert mark.fresh([disliked, served[1]]) == [disliked]
    assert mark.since(DAY * 7) == START - 5 * DAY


def test_requests_that_are_too_old_are_forgotten_and_later_ones_come_again() -> None:
    served = [request("a", 0), request("b", 9), request("c", 9)]
    mark = Watermark().after(served, DAY * 7, later={"c"})
    assert set(mark.seen) == {"b"}
    assert mark.fresh(served[1:]) == [served[2]]


def test_no_requests_leave_the_mark_where_it_is() -> None:
    mark = Watermark().after([request("a", 0)], DAY)
    assert mark.after([], DAY) == mark


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "feedback" / "mined.json"
    assert watermark.read(path) == Watermark()
    mark = Watermark().after([request("a", 0)], DAY)
    watermark.write(path, mark)
    assert watermark.read(path) == mark
    assert [file.name for file in path.parent.iterdir()] == ["mined.json"]


def test_a_broken_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "mined.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="remove it"):
        watermark.read(path)
