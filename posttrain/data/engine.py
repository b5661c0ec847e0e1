"""Where batch functions run: here, in worker processes, or on a Ray cluster. What they compute does not depend on it.

A function takes one item and returns one result; results come back in the order of the items, and only a few are
under way at a time, so that memory stays flat. Knows nothing of rows.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

INLINE = 3
"""Items that are worked on here before worker processes are started: most data sets of a narrow task end sooner."""


class Engine(Protocol):
    """Runs a function over items."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of each item, in order. The function must pickle: a module's function or a frozen dataclass."""


def open_engine(name: str, workers: int) -> Engine:
    """The engine that a spec names ("local", "ray"). Raises `SpecError` when Ray is asked for and not installed."""
    if name == "ray":
        from posttrain.data.ray_engine import RayEngine

        return RayEngine()
    return Local(workers)


class Local:
    """This machine: inline for a few batches, worker processes for many."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Engine.map`. A worker's exception is raised here."""
        rest = iter(items)
        for item in itertools.islice(rest, INLINE if self.workers > 1 else None):
            yield function(item)
        ahead = list(itertools.islice(rest, 1))
        if not ahead:
            return
        # spawn: a forked copy of a process with Arrow's and Polars' threads may hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, mp_context=context) as pool:
            waiting = deque(pool.submit(function, item) for item in ahead)
            try:
                for item in rest:
                    waiting.append(pool.submit(function, item))
                    if len(waiting) > 2 * self.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
