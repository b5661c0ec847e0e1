"""Which part of the training mix a row belongs to: by its file, by looking at it, or as the spec says.

Knows nothing of how many rows a part gets (`mix.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import polars as pl

from posttrain.errors import DataError
from posttrain.spec.sections.mixture import PartSpec

ANSWERS = ("completion", "chosen", "rejected")
_FALSE = ("", "0", "false")

OPENING = 200
"""Characters of an answer in which a refusal shows."""

_CANNOT = r"\bI(?: am|'m)? (?:really |truly )?(?:cannot|can't|can not|won't|will not|not able to|unable to)"
_DOING = (
    "advise|answer|assist|comply|condone|create|discuss|encourage|endorse|engage|fulfill|give|help|offer|participate|"
    "promote|provide|recommend|satisfy|share|suggest|support|tell|write"
)
_REFUSALS = (
    rf"{_CANNOT} (?:\w+ )?(?:{_DOING})\b",
    r"\bI must (?:respectfully )?decline\b",
    r"\bI (?:do not|don't) (?:support|condone|encourage)\b",
    r"\b(?:not|never|isn't) (?:\w+ (?:or )?)?(?:appropriate|ethical|acceptable|legal|safe|right)\b",
    r"\bagainst the law\b|\bis illegal\b",
    r"(?:抱歉|对不起|不好意思)[^。！？]{0,40}(?:不能|无法|不会|不可以|拒绝)",
    r"(?:我|作为[^。！？]{0,20})(?:不能|无法|拒绝)(?:为[您你]|向[您你]|给[您你])?(?:提供|帮助|协助|支持|回答)",
)
_REFUSAL = "(?i)" + "|".join(_REFUSALS)


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
    answer = "completion" if "completion" in rows.columns else "chosen"
    opening = pl.col(answer).str.head(OPENING).str.replace_all("’", "'", literal=True)
    return rows.select(opening.str.contains(_REFUSAL).alias("refuses")).to_series()


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
