"""Which rule stands for which expectation: the twins, by the expectation's type.

A *twin* says of batches of rows what Great Expectations would say of each, only faster. It is a frozen dataclass
whose fields are the expectation's arguments, so the suite's line makes both. Three sorts:

| sort | sees | says |
| --- | --- | --- |
| `RowRule` | some rows, in any grouping | which of them break it, with what was found and what is allowed |
| `TableRule` | small sketches of all rows | which break it, and by which other row |
| `CountRule` | how many rows there are | what is wrong with that, if anything |

A twin may have a property `idle`: whether it asks nothing of any row, being about tasks of another kind.

Knows none of them, nor Great Expectations.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, runtime_checkable

import polars as pl
from pydantic import TypeAdapter, ValidationError

from posttrain.data.rules import condition
from posttrain.data.rules.expectation import Expectation
from posttrain.errors import DataError


@runtime_checkable
class RowRule(Protocol):
    """Looks at each row by itself; the grouping of rows into batches does not change what it finds."""

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Findings (`findings.SCHEMA`) about a batch of rows; `row` counts within the batch."""


@runtime_checkable
class TableRule(Protocol):
    """Compares rows with each other by sketches of them: at most some fifty bytes a row."""

    on_sample: bool
    """Whether rows that break it in a sample, beside those that they were compared with, break it in all rows too."""

    @property
    def described(self) -> tuple[str, ...]:
        """The columns that `describe` reads, beyond `id`."""

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Numbers about a batch, with the column `ROW` (UInt32): the position in the batch that a line is about."""

    def search(self, sketches: pl.DataFrame) -> pl.DataFrame:
        """The rows that break the rule: `ROW`, ascending, and `OTHER` (UInt32), the row it was compared with."""

    def describe(self, rows: pl.DataFrame, others: pl.DataFrame, sketches: pl.DataFrame) -> tuple[list[str], str]:
        """For each row found and its other: what was found; and what the rule allows."""


@runtime_checkable
class CountRule(Protocol):
    """Looks at the number of rows only."""

    def wrong(self, count: int) -> str:
        """What was found, when it is not what is expected; else ""."""


ROW = "__row"
OTHER = "__other"

Rule = RowRule | TableRule | CountRule
Twin = TypeVar("Twin", bound=type)

TWINS: dict[str, Any] = {}


def twin(*types: str) -> Callable[[Twin], Twin]:
    """Class decorator: this rule stands for expectations of these types."""

    def register(rule: Twin) -> Twin:
        TWINS.update(dict.fromkeys(types, rule))
        return rule

    return register


def rule_for(expectation: Expectation) -> Rule | None:
    """The twin of an expectation; None when only Great Expectations can decide it.

    Raises `DataError` for an argument that the expectation does not have, or of a wrong kind.
    """
    kind = TWINS.get(expectation.type)
    if kind is None:
        return None
    fields = [field.name for field in dataclasses.fields(kind)]
    for name in expectation.kwargs:
        if name not in fields:
            raise DataError(
                f"{expectation.place}: found argument {name!r}, which it does not have; {nearest(name, fields)}"
            )
    if expectation.condition is not None and condition.expression(expectation.condition) is None:
        return None
    try:
        made: Rule = TypeAdapter(kind).validate_python(dict(expectation.kwargs))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "arguments"
        raise DataError(f"{expectation.place}: {where}: {first['msg']}; mend the suite") from error
    return made


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at what may have been meant."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"


def columns(rule: Rule | None) -> tuple[str, ...]:
    """The columns that a rule reads, by the names that Great Expectations gives to such arguments."""
    found: list[str] = []
    for name in ("column", "column_A", "column_B", "column_list"):
        value = getattr(rule, name, ())
        found += [value] if isinstance(value, str) else list(value)
    return tuple(found)
