"""Row conditions: which rows an expectation is about, from Great Expectations' notation to Polars'.

A condition is `{"type": "comparison", "column": {"name": …}, "operator": "==", "parameter": …}`, or one of type
nullity, and, or. Knows nothing of rules.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

_COMPARE: Mapping[str, Callable[[pl.Expr, Any], pl.Expr]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "IN": lambda column, values: column.is_in(values),
    "NOT_IN": lambda column, values: ~column.is_in(values),
}


def expression(condition: Mapping[str, Any]) -> pl.Expr | None:
    """The condition as an expression; None when it is of a kind that only Great Expectations can decide.

    Columns hold text, so only comparisons with text are decided here.
    """
    match condition:
        case {"type": "comparison", "column": {"name": str(name)}, "operator": str(sign), "parameter": parameter}:
            texts = parameter if sign in ("IN", "NOT_IN") and isinstance(parameter, list) else [parameter]
            if sign not in _COMPARE or not all(isinstance(text, str) for text in texts):
                return None
            return _COMPARE[sign](pl.col(name), parameter)
        case {"type": "nullity", "column": {"name": str(name)}, "is_null": bool(is_null)}:
            return pl.col(name).is_null() if is_null else pl.col(name).is_not_null()
        case {"type": "and" | "or" as joint, "conditions": [*parts]} if parts:
            made = [expression(part) for part in parts]
            join = operator.and_ if joint == "and" else operator.or_
            return None if any(part is None for part in made) else functools.reduce(join, made)
    return None


def columns(condition: Mapping[str, Any] | None) -> Iterator[str]:
    """The names of the columns that a condition reads."""
    match condition:
        case {"column": {"name": str(name)}}:
            yield name
        case {"conditions": [*parts]}:
            for part in parts:
                yield from columns(part)
