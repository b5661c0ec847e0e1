"""Findings: what rules and curation steps say of rows. One shape for all of them, so that every drop is explained.

A finding names the row, what becomes of it, what was found, what is allowed and, when two rows are compared, the
other one. Findings are a table, not objects: five million rows may have a million of them. Knows no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

Verdict = Literal["drop", "review", "warn"]
"""drop: set aside, restorable. review: set aside until a person has said a word. warn: goes on, but is listed."""

SCHEMA = {
    "row": pl.Int64,
    "verdict": pl.String,
    "value": pl.String,
    "threshold": pl.String,
    "twin": pl.String,
}
"""`row`: position in the rows looked at, from 0. `twin`: id of the other row, or ""."""


def none() -> pl.DataFrame:
    """No findings."""
    return pl.DataFrame(schema=SCHEMA)


def findings(
    rows: Sequence[int] | pl.Series,
    value: str | Sequence[str] | pl.Series,
    threshold: str | Sequence[str] | pl.Series,
    twin: str | Sequence[str] | pl.Series = "",
    verdict: Verdict | Sequence[str] | pl.Series = "drop",
) -> pl.DataFrame:
    """Findings about the rows at these positions; a single text stands for every one of them.

    Args: `value` is what was found ("8 characters"), `threshold` what is allowed ("10 to 2,000").
    """
    columns = {"row": rows, "verdict": verdict, "value": value, "threshold": threshold, "twin": twin}
    count = len(rows)
    made = {
        name: pl.Series(name, [content] * count if isinstance(content, str) else content, dtype=SCHEMA[name])
        for name, content in columns.items()
    }
    return pl.DataFrame(made)
