"""A row: the one shape of data between stages, and the record of why a row was set aside.

Knows nothing of files or rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

Row = dict[str, str]

COLUMNS = ("id", "source", "system", "prompt", "completion")
"""Every row's columns. `source` is "file:line"; `system` is the system message, or empty. Curation adds `group`."""


def row_id(source: str) -> str:
    """Twelve hexadecimal digits that stay the same as long as the row stays on its line."""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Dropped:
    """A row with the reason why it does not go on: the rule, what was found, what the rule allows.

    `twin` is the id of the other row when the rule compares two.
    """

    row: Row
    rule: str
    value: str
    threshold: str
    twin: str = ""

    def record(self, split: str) -> Row:
        """All columns of the row, then the reason: one line of the quarantine or of the dropped rows."""
        reason = {"rule": self.rule, "value": self.value, "threshold": self.threshold, "split": split}
        return {**self.row, **reason, "twin": self.twin}


def shorten(text: str, limit: int = 100) -> str:
    """One line of at most `limit` characters, for messages and examples."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def examples(dropped: Iterable[Dropped], count: int = 3) -> tuple[str, ...]:
    """The first few dropped rows in words: where, why and what they say."""
    first = [item for _, item in zip(range(count), dropped, strict=False)]
    return tuple(f"{item.row['source']}: {item.value} | {shorten(item.row['prompt'])}" for item in first)
