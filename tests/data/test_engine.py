"""Engines: the same results in the same order wherever a function runs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from posttrain.data.engine import INLINE, Local
from posttrain.errors import DataError


def where(item: int) -> tuple[int, int]:
    return item, os.getpid()


def refuse(item: int) -> int:
    if item == INLINE + 2:
        raise DataError("rows.jsonl:6: too long")
    return item


def test_one_worker_works_here_and_in_order() -> None:
    assert list(Local(1).map(where, range(10))) == [(item, os.getpid()) for item in range(10)]


def test_many_items_go_to_worker_processes_and_come_back_in_order() -> None:
    done = list(Local(2).map(where, range(12)))
    assert [item for item, _ in done] == list(range(12))
    assert {process for _, process in done[:INLINE]} == {os.getpid()}
    assert os.getpid() not in {process for _, process in done[INLINE:]}


def test_only_a_few_items_are_under_way_at_a_time() -> None:
    drawn: list[int] = []

    def source() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    results = Local(2).map(where, source())
    for _ in range(INLINE + 1):
        next(results)
    assert len(drawn) <= INLINE + 1 + 2 * 2 + 1
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_worker_is_raised_here(workers: int) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:6: too long"):
        list(Local(workers).map(refuse, range(20)))
