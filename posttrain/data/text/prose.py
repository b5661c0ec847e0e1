"""What can be asked of prose, English or Chinese: is it long enough, does it repeat itself. JSON and code are exempt.

Every function takes a Polars series of texts and returns a series of the same length; none of them looks at other rows.
Knows nothing of rows, rules or what an answer ought to say.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from posttrain.data.text import labels
from posttrain.data.text.repetition import distinct_shares

WIDE = 3
"""Characters that one Chinese, Japanese or Korean character counts for: how much longer the English answers of the same
instruction sets are than the Chinese (median 485 to 160 characters in Alpaca, 199 to 64 in Glaive)."""
_WIDE = r"[\x{3040}-\x{30ff}\x{3400}-\x{9fff}\x{ac00}-\x{d7af}\x{f900}-\x{faff}\x{20000}-\x{3ffff}]"

_FENCED = r"(?s)```.*?(?:```|\z)"
# A text without any of these has no code worth counting.
_MARKS = r"```|[;{}][ \t]*(?:\n|\z)|\)[ \t]*(?:\n|\z)|:[ \t]*\n[ \t]+\S|</|^<|\w ?[-+*/]?= ?\S"
_CODE_LINE = (
    r"(?m)^[ \t]*(?:"
    + "|".join(
        (
            r"(?:def|class|function|fn|func|public|private|protected|static|struct|interface|impl|package)\b.*[:{(]",
            r"(?:import|from|using|#include|require|export|const|let|var|return|raise|throw|elif|else|try|except|finally|"
            r"async|await|echo|sudo|pip|npm|SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|FROM|WHERE|JOIN)\b.*",
            r"(?:if|for|while|switch|with|catch)\b.*[:{)]",
            r".*[;{}]|[\])}]+[,;]?",
            r"</?[A-Za-z][\w-]*(?:\s+[\w-]+=[^<>]*)?/?>.*|<!.*|.*</[A-Za-z]+>",
            r"""[\w.\[\]'"]+ *(?:[-+*/|&]?=|:=|<-) *\S.*|[\w.]+\(.*\)""",
            r"@\w+.*|//.*|/\*.*|\*/|#!.*|\$ \S.*|>>> .*",
        )
    )
    + r")[ \t]*(?:#.*|//.*)?$"
)
_LINE = r"(?m)^.*\S.*$"


def is_json(texts: pl.Series) -> pl.Series:
    """Whether each text as a whole is a JSON object or array."""
    return _asked(texts, texts.str.contains(r"^\s*[\[{]"), lambda some: pl.Series(map(labels.is_json, some.to_list())))


def is_code(texts: pl.Series) -> pl.Series:
    """Whether each text is code for the most part: by characters inside ``` fences, or by lines that look like it.

    A line looks like code when it begins with a keyword and ends as a block does, assigns, calls, ends in ; { or },
    or is a tag. Lines of arithmetic look like it too, and are as little prose.
    """
    return _asked(texts, texts.str.contains(_MARKS), _is_code)


def _is_code(texts: pl.Series) -> pl.Series:
    outside = texts.str.replace_all(_FENCED, "").str.strip_chars().str.len_chars()
    lines, code = texts.str.count_matches(_LINE), texts.str.count_matches(_CODE_LINE)
    return (2 * outside < texts.str.len_chars()) | (2 * code > lines)


def _asked(texts: pl.Series, suspects: pl.Series, ask: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """What `ask` says of the suspects; False for all others."""
    found = np.zeros(len(texts), bool)
    at = suspects.arg_true()
    if len(at):
        found[at.to_numpy()] = ask(texts.gather(at)).to_numpy()
    return pl.Series(texts.name, found)


def exempt(texts: pl.Series) -> pl.Series:
    """Whether the rules on prose do not apply to each text: it is JSON or code."""
    return is_json(texts) | is_code(texts)


def lengths(texts: pl.Series) -> pl.Series:
    """Characters of each text, as long as they would be in English: a Chinese character counts for three (`WIDE`)."""
    return (texts.str.len_chars() + (WIDE - 1) * texts.str.count_matches(_WIDE)).cast(pl.Int64)


def length_problems(texts: pl.Series, low: int, high: int) -> pl.Series:
    """The length of each text of prose shorter than `low` or longer than `high`, in words; "" for the others.

    S3: 10 to 2,000 characters. Chinese says as much in fewer: towards `low` its characters count as `lengths` says;
    towards `high` they count once, so that neither bound is stricter than S3's. Blanks at the ends do not count.
    """
    bare = texts.str.strip_chars()
    size, weighed = bare.str.len_chars(), lengths(bare)
    wrong = (weighed < low) | (size > high)
    wrong &= ~_asked(texts, wrong, exempt)
    frame = pl.DataFrame({"wrong": wrong, "size": size, "weighed": weighed})
    said = pl.format("{} characters", "size")
    counted = pl.when(pl.col("weighed") > pl.col("size")).then(pl.format(" (as long as {} in English)", "weighed"))
    said = pl.when("wrong").then(said + counted.otherwise(pl.lit(""))).otherwise(pl.lit(""))
    return frame.select(said.alias(texts.name)).to_series()


def repetition_problems(texts: pl.Series, least: float) -> pl.Series:
    """The share (see `distinct_shares`) of each text of prose that stays below `least`, in words; else ""."""
    shares = distinct_shares(texts)
    wrong = shares < least
    wrong &= ~_asked(texts, wrong, exempt)
    said = pl.format("{} distinct", shares.round(2).cast(pl.String))
    return pl.select(pl.when(wrong).then(said).otherwise(pl.lit("")).alias(texts.name)).to_series()
