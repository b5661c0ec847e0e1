"""Twins of the expectations on pairs, conversations and ratings (`posttrain.data.text.preference_rules`)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.rules.builtin import quoted
from posttrain.data.rules.label import said
from posttrain.data.rules.prose import worded
from posttrain.data.rules.registry import OTHER, ROW, twin
from posttrain.data.text import preference_rules


@twin("expect_column_pair_values_to_differ")
@dataclass(frozen=True)
class Differ:
    """Chosen (column A) and rejected (column B) differ by more than case, blanks and Unicode forms."""

    column_A: str
    column_B: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        same = preference_rules.same_sides(rows.select(chosen=self.column_A, rejected=self.column_B)).arg_true()
        values = [f"both {quoted(text)}" for text in rows[self.column_A].gather(same)]
        return findings.findings(same.cast(pl.Int64), values, "two different answers")


@twin("expect_multicolumn_pairs_to_agree")
@dataclass(frozen=True)
class PairsAgree:
    """A pair (columns: prompt, chosen, rejected) never comes back with its sides exchanged; both rows are named."""

    column_list: Sequence[str]

    on_sample = True
    described = ()

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.sketch`."""
        prompt, chosen, rejected = self.column_list
        hashes = preference_rules.pair_hashes(rows.select(prompt=prompt, chosen=chosen, rejected=rejected))
        return hashes.with_columns(pl.Series(ROW, np.arange(rows.height, dtype=np.uint32)))

    def search(self, sketches: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.search`; the other row is the first with the sides exchanged."""
        found = preference_rules.reversed_pairs(sketches.select("forward", "backward"))
        rows = sketches[ROW]
        return pl.DataFrame({ROW: rows.gather(found["row"]), OTHER: rows.gather(found["twin"])})

    def describe(self, rows: pl.DataFrame, others: pl.DataFrame, sketches: pl.DataFrame) -> tuple[list[str], str]:
        """See `TableRule.describe`."""
        return [f"row {twin} prefers the other side" for twin in others["id"]], "one preference for a pair"


@twin("expect_column_values_to_have_alternating_roles")
@dataclass(frozen=True)
class AlternatingRoles:
    """User and assistant take turns, and the assistant has the last word (`preference_rules.TURNS`)."""

    column: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        problems = preference_rules.role_problems(rows[self.column])
        return worded(problems, "user and assistant in turn, the assistant last")


@twin("expect_column_values_to_have_mean_rating")
@dataclass(frozen=True)
class MeanRating:
    """At least `min_annotators` rated the row, and their mean is at least `min_mean` (S3: 3 annotators, 4.0 of 5)."""

    column: str
    min_mean: float = 4.0
    min_annotators: int = 3

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        words = [rating_problem(text, self.min_mean, self.min_annotators) for text in rows[self.column]]
        return said(words, f"a mean of at least {self.min_mean:g} from {self.min_annotators} annotators or more")


@twin("expect_column_values_to_be_ratings")
@dataclass(frozen=True)
class Ratings:
    """Values are JSON lists of {"annotator": text, "rating": number}, each annotator once."""

    column: str

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        return said([ratings(text)[1] for text in rows[self.column]], "a rating each from different annotators")


def rating_problem(text: str, min_mean: float, min_annotators: int) -> str:
    """Why ratings do not speak for a row, in words; "" when they do."""
    found, problem = ratings(text)
    if problem:
        return problem
    if len(found) < min_annotators:
        return f"{len(found)} annotator{'s' * (len(found) != 1)}"
    mean = fmean(found)
    return f"mean {mean:.2f} of {len(found)}" if mean < min_mean else ""


def ratings(text: str) -> tuple[list[float], str]:
    """The ratings of a row, or why they cannot be read, in words."""
    try:
        found = json.loads(text)
        by = {str(one["annotator"]): one["rating"] for one in found}
    except (ValueError, TypeError, KeyError, RecursionError):
        return [], "not a list of annotators and ratings"
    wrong = [value for value in by.values() if not _is_number(value)]
    if wrong:
        return [], f"rating {json.dumps(wrong[0], ensure_ascii=False)}"
    if len(by) < len(found):
        return [], "an annotator who rated it twice"
    return [float(value) for value in by.values()], ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
