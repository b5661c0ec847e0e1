"""Which part of the training mix a row belongs to: by its file, by looking at it, or as the spec says.

Knows nothing of how many rows a part gets (`mix.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import polars as pl

from posttrain.data.text.refusal import opens_with_refusal
from posttrain.errors import DataError
from posttrain.spec.sections.mixture import PartSpec

ANSWERS = ("completion", "chosen", "rejected")
_FALSE = ("", "0", "false")


def assigned(rows: pl.DataFrame, parts: Mapping[str, PartSpec], origin: str) -> pl.Series:
    """The part of each row: the first of `parts` that it fits, or `origin` ("domain" or "general": its file's).

    Raises: `DataError` when a part's column is not there.
    """
    part = pl.Series("part", [origin] * rows.height, dtype=pl.String)
    for name, spec in list(parts.items())[::-1]:
        if name in ("domain", "general"):
            continue
        part = part.set(fits(rows, name, spec), name)
    return part


def fits(rows: pl.DataFrame, name: str, part: PartSpec) -> pl.Series:
    """Whether each row belongs to a part: by what the part is known for, its column or its pattern."""
    found = pl.repeat(False, rows.height, dtype=pl.Boolean, eager=True)
    if name == "multi_turn":
        found = found | multi_turn(rows)
    if name == "safety":
        found = found | refuses(rows)
    if part.column:
        found = found | _flagged(rows, name, part.column)
    if part.matches:
        found = found | _matched(rows, part.matches)
    return found


def multi_turn(rows: pl.DataFrame) -> pl.Series:
    """Whether the user speaks at least twice: in `messages`, or in a prompt that several turns were flattened into."""
    turns = pl.col("prompt").str.contains(r"(?s)\AUser: .*\n\nAssistant: .*\n\nUser: ")
    if "messages" in rows.columns:
        # Quotes inside a message's text are escaped in JSON, so only real roles look like this.
        turns = turns | (pl.col("messages").str.count_matches(r'"role"\s*:\s*"user"') >= 2)
    return rows.select(turns.alias("multi_turn")).to_series()


def refuses(rows: pl.DataFrame) -> pl.Series:
    """Whether the answer (of a pair: the chosen one) opens with a refusal, in English or Chinese."""
    return opens_with_refusal(rows["completion" if "completion" in rows.columns else "chosen"]).alias("refuses")


def _flagged(rows: pl.DataFrame, name: str, column: str) -> pl.Series:
    if column not in rows.columns:
        present = ", ".join(rows.columns)
        raise DataError(
            f"{rows['source'][0]}: found columns {present}, expected {column}; name another one in "
            f"curate.mixture.parts.{name}.column"
        )
    return ~rows[column].str.strip_chars().str.to_lowercase().is_in(_FALSE)


def _matched(rows: pl.DataFrame, pattern: str) -> pl.Series:
    # Python's own expressions, not Polars': users may write look-arounds.
    search = _compiled(pattern).search
    texts = [rows[name].to_list() for name in ("prompt", *ANSWERS) if name in rows.columns]
    return pl.Series([any(search(text) for text in row) for row in zip(*texts, strict=True)], dtype=pl.Boolean)


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
