"""Twins of the expectations on text as such: is it readable, long enough, free of loops.

What is asked, `text.words` and `text.prose` say. S3's two rules on prose leave JSON and code alone,
and have nothing to say of tasks whose completions are labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from posttrain.data import findings
from posttrain.data.rows import shorten
from posttrain.data.rules.builtin import span
from posttrain.data.rules.registry import twin
from posttrain.data.text import prose
from posttrain.data.text.labels import LABEL_KINDS
from posttrain.data.text.language import language_problems
from posttrain.data.text.privacy import personal_data_problems, secret_problems
from posttrain.data.text.words import encoding_problems


def worded(words: pl.Series, threshold: str) -> pl.DataFrame:
    """Findings about the rows of which something is said; "" says nothing."""
    found = (words != "").arg_true()
    return findings.findings(found.cast(pl.Int64), [shorten(text) for text in words.gather(found)], threshold)


@twin("expect_column_values_to_be_readable_text")
@dataclass(frozen=True)
class Readable:
    """No U+FFFD (the mark of bytes that did not decode), no control characters, no mojibake."""

    column: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        return worded(encoding_problems(rows[self.column]), "readable text")


@twin("expect_column_values_to_have_prose_length")
@dataclass(frozen=True)
class ProseLength:
    """Prose has `min_value` to `max_value` characters (S3: 10 to 2,000)."""

    column: str
    min_value: int = 10
    max_value: int = 2000
    kind: str = "text"

    @property
    def idle(self) -> bool:
        """Whether it asks nothing of any row."""
        return self.kind in LABEL_KINDS

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        if self.idle:
            return findings.none()
        words = prose.length_problems(rows[self.column], self.min_value, self.max_value)
        return worded(words, span(self.min_value, self.max_value))


@twin("expect_column_values_to_have_distinct_word_ratio")
@dataclass(frozen=True)
class DistinctWordRatio:
    """Prose does not repeat itself (S3: 0.70, measured as `prose.distinct_shares` says)."""

    column: str
    min_ratio: float = 0.70
    kind: str = "text"

    @property
    def idle(self) -> bool:
        """Whether it asks nothing of any row."""
        return self.kind in LABEL_KINDS

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        if self.idle:
            return findings.none()
        return worded(prose.repetition_problems(rows[self.column], self.min_ratio), f"at least {self.min_ratio:.2f}")


@twin("expect_column_values_to_be_in_language")
@dataclass(frozen=True)
class InLanguage:
    """Prose is in one of `languages` (ISO 639 codes; none: any), as far as that can be told for sure."""

    column: str
    languages: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether it asks nothing of any row."""
        return not self.languages

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        if self.idle:
            return findings.none()
        return worded(language_problems(rows[self.column], self.languages), " or ".join(self.languages))


@twin("expect_column_values_to_leak_no_secrets")
@dataclass(frozen=True)
class NoSecrets:
    """No keys, tokens or passwords of real services (`posttrain.data.text.privacy`)."""

    column: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        return worded(secret_problems(rows[self.column]), f"{self.column} without secrets")


@twin("expect_column_values_to_leak_no_personal_data")
@dataclass(frozen=True)
class NoPersonalData:
    """No mail addresses, telephone, card, account or identity numbers of people (`posttrain.data.text.privacy`)."""

    column: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        return worded(personal_data_problems(rows[self.column]), f"{self.column} without personal data")
