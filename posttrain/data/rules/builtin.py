"""Twins of Great Expectations' own expectations on single rows, with its arguments and its verdicts.

Values are text, and no value is null: "" is a value like any other. A number is a text that reads as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.rows import shorten
from posttrain.data.rules.pattern import contains
from posttrain.data.rules.registry import twin
from posttrain.errors import DataError


def broken(bad: pl.Series, rows: pl.DataFrame, column: str, threshold: str) -> pl.DataFrame:
    """Findings about the rows flagged in `bad` (null: fine); what was found is the column's text, shortened."""
    found = bad.fill_null(False).arg_true()
    texts = rows[column].gather(found)
    values = [f"{column} {quoted(text)}" for text in texts]
    return findings.findings(found.cast(pl.Int64), values, threshold)


def quoted(text: str | None) -> str:
    """A text for messages: empty, or on one line within quotation marks."""
    return f"'{shorten(text)}'" if text and text.strip() else "empty"


@twin("expect_column_values_to_not_be_null")
@dataclass(frozen=True)
class NotNull:
    """Values are there; "" is."""

    column: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        return broken(rows[self.column].is_null(), rows, self.column, "a value")


@twin("expect_column_values_to_be_null")
@dataclass(frozen=True)
class Null:
    """Values are not there; "" is."""

    column: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        return broken(rows[self.column].is_not_null(), rows, self.column, "no value")


@twin("expect_column_values_to_match_regex")
@dataclass(frozen=True)
class MatchRegex:
    """The pattern is found somewhere in the text."""

    column: str
    regex: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        allowed = "text that is not blank" if self.regex == r"\S" else f"text that matches {self.regex}"
        return broken(~contains(rows[self.column], self.regex), rows, self.column, allowed)


@twin("expect_column_values_to_not_match_regex")
@dataclass(frozen=True)
class NotMatchRegex:
    """The pattern is found nowhere in the text."""

    column: str
    regex: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        return broken(contains(rows[self.column], self.regex), rows, self.column, f"text without {self.regex}")


@twin("expect_column_values_to_match_regex_list")
@dataclass(frozen=True)
class MatchRegexList:
    """One of the patterns, or each of them, is found in the text."""

    column: str
    regex_list: Sequence[str]
    match_on: Literal["any", "all"] = "any"

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        found = np.array([contains(rows[self.column], regex).fill_null(True).to_numpy() for regex in self.regex_list])
        good = found.any(axis=0) if self.match_on == "any" else found.all(axis=0)
        allowed = f"text that matches {self.match_on} of {', '.join(self.regex_list)}"
        return broken(pl.Series(~good), rows, self.column, allowed)


@twin("expect_column_values_to_not_match_regex_list")
@dataclass(frozen=True)
class NotMatchRegexList:
    """None of the patterns is found in the text."""

    column: str
    regex_list: Sequence[str]

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        found = np.array([contains(rows[self.column], regex).fill_null(False).to_numpy() for regex in self.regex_list])
        return broken(pl.Series(found.any(axis=0)), rows, self.column, f"text without {', '.join(self.regex_list)}")


@twin("expect_column_value_lengths_to_be_between")
@dataclass(frozen=True)
class LengthBetween:
    """Texts have so many characters."""

    column: str
    min_value: int | None = None
    max_value: int | None = None
    strict_min: bool = False
    strict_max: bool = False

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        sizes = rows[self.column].str.len_chars()
        found = _outside(sizes, self.min_value, self.max_value, self.strict_min, self.strict_max).arg_true()
        values = [f"{size} characters" for size in sizes.gather(found)]
        return findings.findings(found.cast(pl.Int64), values, span(self.min_value, self.max_value))


@twin("expect_column_value_lengths_to_equal")
@dataclass(frozen=True)
class LengthEquals:
    """Texts have exactly so many characters."""

    column: str
    value: int

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        sizes = rows[self.column].str.len_chars()
        found = (sizes != self.value).fill_null(False).arg_true()
        values = [f"{size} characters" for size in sizes.gather(found)]
        return findings.findings(found.cast(pl.Int64), values, f"{self.value} characters")


@twin("expect_column_values_to_be_between")
@dataclass(frozen=True)
class Between:
    """Numbers written as text lie between two numbers.

    A text that reads as no number breaks the rule, "" does not: there, nothing was said.
    """

    column: str
    min_value: float | None = None
    max_value: float | None = None
    strict_min: bool = False
    strict_max: bool = False

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        values = numbers(rows[self.column])
        bad = _outside(values, self.min_value, self.max_value, self.strict_min, self.strict_max)
        bad = bad | values.is_nan().fill_null(False)
        return broken(bad, rows, self.column, span(self.min_value, self.max_value))


def numbers(texts: pl.Series) -> pl.Series:
    """The texts as numbers (Float64): null for a blank one, NaN for one that is no number."""
    trimmed = texts.str.strip_chars()
    read = trimmed.cast(pl.Float64, strict=False).fill_null(float("nan"))
    return pl.select(pl.when(trimmed != "").then(read)).to_series().alias(texts.name)


@twin("expect_column_values_to_be_in_set")
@dataclass(frozen=True)
class InSet:
    """Texts are among those given."""

    column: str
    value_set: Sequence[str]

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        bad = ~rows[self.column].is_in(list(self.value_set))
        return broken(bad, rows, self.column, f"one of {shorten(', '.join(self.value_set))}")


@twin("expect_column_values_to_not_be_in_set")
@dataclass(frozen=True)
class NotInSet:
    """Texts are none of those given."""

    column: str
    value_set: Sequence[str]

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        bad = rows[self.column].is_in(list(self.value_set))
        return broken(bad, rows, self.column, f"none of {shorten(', '.join(self.value_set))}")


@twin("expect_column_pair_values_to_be_equal")
@dataclass(frozen=True)
class PairEqual:
    """Two columns hold the same text."""

    column_A: str
    column_B: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        return broken(rows[self.column_A] != rows[self.column_B], rows, self.column_B, f"the same as {self.column_A}")


@twin("expect_select_column_values_to_be_unique_within_record")
@dataclass(frozen=True)
class UniqueWithinRecord:
    """The columns of a row all differ."""

    column_list: Sequence[str]

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        if len(self.column_list) < 2:
            raise DataError(f"expect_select_column_values_to_be_unique_within_record: found {self.column_list}")
        bad = np.zeros(rows.height, bool)
        for index, first in enumerate(self.column_list):
            for second in self.column_list[index + 1 :]:
                bad |= (rows[first] == rows[second]).fill_null(False).to_numpy()
        return broken(pl.Series(bad), rows, self.column_list[-1], f"different texts in {', '.join(self.column_list)}")


@twin("expect_table_row_count_to_be_between")
@dataclass(frozen=True)
class RowCountBetween:
    """There are so many rows."""

    min_value: int | None = None
    max_value: int | None = None
    strict_min: bool = False
    strict_max: bool = False

    def wrong(self, count: int) -> str:
        """See `CountRule.wrong`."""
        outside = _outside(pl.Series([count]), self.min_value, self.max_value, self.strict_min, self.strict_max)
        return f"{count:,}" if outside.any() else ""


@twin("expect_table_row_count_to_equal")
@dataclass(frozen=True)
class RowCountEquals:
    """There are exactly so many rows."""

    value: int

    def wrong(self, count: int) -> str:
        """See `CountRule.wrong`."""
        return f"{count:,}" if count != self.value else ""


def _outside(
    values: pl.Series, low: float | None, high: float | None, strict_low: bool, strict_high: bool
) -> pl.Series:
    bad = pl.Series([False]).new_from_index(0, len(values))
    if low is not None:
        bad = bad | ((values <= low) if strict_low else (values < low)).fill_null(False)
    if high is not None:
        bad = bad | ((values >= high) if strict_high else (values > high)).fill_null(False)
    return bad


def span(low: float | None, high: float | None) -> str:
    """Two bounds in words."""
    if low is None or high is None:
        return f"at least {low}" if high is None else f"at most {high}"
    return f"{low} to {high}"
