"""Curation step: rows that people rated low, too few people rated, or people do not agree about.

Knows nothing of how well annotators agree over all rows (`agreement.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import polars as pl

from posttrain.data import findings
from posttrain.data.rows import shorten
from posttrain.data.text.json_columns import decoded
from posttrain.errors import DataError
from posttrain.spec.sections.annotators import AnnotatorsSpec

RATINGS = "ratings"
_SHAPE = pl.List(pl.Struct({"annotator": pl.String, "rating": pl.Float64}))


@dataclass(frozen=True)
class Annotators:
    """S3: three people a row, a mean rating of 4.0 (of 5) or more. The first reason counts, drops first."""

    spec: AnnotatorsSpec = field(default_factory=AnnotatorsSpec)
    name: str = "annotators"

    @property
    def reason(self) -> str:
        """What it sets aside, in words."""
        words = [f"mean rating below {self.spec.min_mean:g}"]
        if self.spec.too_few != "keep":
            words.append(f"fewer than {self.spec.min_annotators} annotators")
        if self.spec.max_range is not None:
            words.append(f"ratings more than {self.spec.max_range:g} apart")
        return ", or ".join(words)

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Findings about rows with ratings; others, and batches without the column, have none."""
        if RATINGS not in rows.columns:
            return findings.none()
        rated = ratings_of(rows).group_by("row", maintain_order=True)
        figures = rated.agg(
            pl.col("rating").mean().round(9).alias("mean"),
            (pl.col("rating").max() - pl.col("rating").min()).round(9).alias("range"),
            pl.col("annotator").n_unique().alias("people"),
            "rating",
        )
        low = pl.col("mean") < self.spec.min_mean
        few = (pl.col("people") < self.spec.min_annotators) & (self.spec.too_few != "keep")
        suspect = figures.filter(low | few | (pl.col("range") > self._most_apart)).to_dicts()
        said = [self._said(**row) for row in suspect]
        verdicts, values, thresholds = zip(*said, strict=True) if said else ((), (), ())
        return findings.findings([row["row"] for row in suspect], values, thresholds, "", verdicts)

    @property
    def _most_apart(self) -> float:
        return math.inf if self.spec.max_range is None else self.spec.max_range

    def _said(self, row: int, mean: float, range: float, people: int, rating: list[float]) -> tuple[str, str, str]:
        """(verdict, value, threshold) of a row that at least one reason holds for."""
        listed = ", ".join(f"{one:g}" for one in rating)
        if mean < self.spec.min_mean:
            return "drop", f"mean {mean:.3g} ({listed})", f"at least {self.spec.min_mean:g}"
        if people < self.spec.min_annotators and self.spec.too_few != "keep":
            words = "annotator" if people == 1 else "annotators"
            return self.spec.too_few, f"{people} {words} ({listed})", f"at least {self.spec.min_annotators}"
        return "review", f"{range:g} apart ({listed})", f"at most {self._most_apart:g} apart"


def ratings_of(rows: pl.DataFrame) -> pl.DataFrame:
    """(row, annotator, rating), one line a rating, from the JSON in the column `ratings`; `row` counts from 0.

    Raises: `DataError` for a text that is no list of {annotator, rating}.
    """
    lists = decoded(rows[RATINGS], _SHAPE)
    unread = rows.filter(lists.is_null() & ~rows[RATINGS].str.strip_chars().is_in(["", "null"]))
    if unread.height:
        raise DataError(
            f"{unread['source'][0]}: found ratings {shorten(unread[RATINGS][0], 60)!r}, expected a list such as "
            '[{"annotator": "ann", "rating": 4}]; mend the row'
        )
    frame = pl.DataFrame({"row": pl.int_range(rows.height, dtype=pl.Int64, eager=True), "one": lists})
    frame = frame.filter(pl.col("one").list.len() > 0).explode("one").unnest("one")
    return frame.filter(pl.col("rating").is_not_null()).with_columns(pl.col("annotator").fill_null(""))
