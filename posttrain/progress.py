"""How long work says how far it has come. Knows nothing of who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called now and then with what is done, out of how much, and a word on what is going on."""

    def __call__(self, done: float, total: float, note: str = "") -> None: ...


def silent(done: float, total: float, note: str = "") -> None:
    """Nobody listens."""
