"""Who watches a run live: tasks tell what starts, how far it is and how it ended; a display listens.

Knows nothing of terminals. Without a listener the words go nowhere.
"""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """What a live display must be able to take."""

    def started(self, stage: str) -> None:
        """A stage begins."""

    def progressed(self, stage: str, done: float, total: float, note: str) -> None:
        """`done` of `total` units, and a word on what is going on."""

    def retried(self, stage: str, attempt: int, reason: str) -> None:
        """A transient fault: the stage is tried again."""

    def finished(self, stage: str, seconds: float, reused: bool, summary: str) -> None:
        """The stage is done; `seconds` of the run that made it, `summary` a few words of result."""

    def failed(self, stage: str, reason: str) -> None:
        """The stage ended without a result."""


class _Nobody:
    def started(self, stage: str) -> None: ...
    def progressed(self, stage: str, done: float, total: float, note: str) -> None: ...
    def retried(self, stage: str, attempt: int, reason: str) -> None: ...
    def finished(self, stage: str, seconds: float, reused: bool, summary: str) -> None: ...
    def failed(self, stage: str, reason: str) -> None: ...


_listener: Listener = _Nobody()


def listen(listener: Listener) -> None:
    """From now on `listener` hears of every stage in this process."""
    global _listener
    _listener = listener


def listener() -> Listener:
    """The present listener."""
    return _listener
