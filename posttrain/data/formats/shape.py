"""The shape of a file's rows: its format, the kind of row it becomes, and which column plays which part.

Knows nothing of how it is found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RowKind = Literal["prompt_completion", "messages", "preference", "unpaired", "rating"]

TEXTS: dict[RowKind, tuple[str, ...]] = {
    "prompt_completion": ("system", "prompt", "completion"),
    "messages": ("system", "prompt", "completion", "messages"),
    "preference": ("system", "prompt", "chosen", "rejected"),
    "unpaired": ("system", "prompt", "completion", "label"),
    "rating": ("system", "prompt", "completion", "ratings"),
}
"""The columns that each kind of row has beside `id` and `source`."""

KINDS: dict[str, RowKind] = {
    "intent_slots": "prompt_completion",
    "preference": "preference",
    "comparison": "preference",
    "ranking": "preference",
    "correction": "preference",
    "rating": "rating",
    "unpaired": "unpaired",
    "messages": "messages",
    "sharegpt": "messages",
    "alpaca": "prompt_completion",
    "prompt_completion": "prompt_completion",
    "text": "prompt_completion",
}
"""Format -> the kind of row that it becomes. To add a format: a line here, one in `detect._COLUMNS`, a converter."""

_OPTIONAL = ("system", "tools", "input", "history")


@dataclass(frozen=True)
class Shape:
    """A format, the kind of row, and part -> column; `ratings` may be several columns. `keep` are further columns."""

    format: str
    kind: RowKind
    columns: dict[str, str]
    ratings: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns without which no row can be read."""
        return (*(name for part, name in self.columns.items() if part not in _OPTIONAL), *self.ratings[:1])

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are read."""
        return tuple(dict.fromkeys([*self.columns.values(), *self.ratings, *self.keep]))


@dataclass(frozen=True)
class Named:
    """What the user said of a source: format ("auto" or one of `KINDS`), part -> column, further columns."""

    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    ratings: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
