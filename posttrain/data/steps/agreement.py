"""How well annotators agree: Krippendorff's alpha over all rows, and of each annotator.

Rows are read as a stream; of every batch only its coincidences are kept, a table of (value, value) pairs: so many
ratings of one value met so many of the other on the same row. Knows nothing of which rows are good.

Source: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from posttrain.artifacts import Frozen
from posttrain.data.engine import Engine
from posttrain.data.steps.annotators import RATINGS, ratings_of
from posttrain.data.table import Table
from posttrain.errors import DataError

Level = Literal["nominal", "ordinal", "interval"]

MOST_VALUES = 200
"""Ratings are steps on a scale: more different values in a batch are something else."""


class AnnotatorFigures(Frozen):
    """One annotator against the others.

    `rows` rated, their `share` of all rated rows, `bias`: mean of their rating less the mean of the others' on the
    same row (None when always alone), `alpha_without`: alpha of all others; above the overall one, they disagree.
    """

    annotator: str
    rows: int
    share: float
    bias: float | None
    alpha_without: float | None


class Agreement(Frozen):
    """Agreement over a set of rows. `alpha`: 1 perfect, 0 as by chance; None when nothing can be compared.

    `same`: share of the pairs of ratings of one row that are equal, whatever chance would have done.
    """

    level: str
    alpha: float | None
    same: float | None
    rows: int
    rows_rated_twice: int
    ratings: int
    annotators: tuple[AnnotatorFigures, ...]

    def text(self) -> str:
        """In words, for reports. Krippendorff: rely on 0.8 and more, on 0.667 only for tentative conclusions."""
        if self.alpha is None:
            return "no row has two ratings that could disagree"
        words = "reliable" if self.alpha >= 0.8 else "tentative" if self.alpha >= 0.667 else "not reliable"
        return f"Krippendorff's alpha {self.alpha:.2f} ({self.level}): {words}"


_COINCIDENCES = {"annotator": pl.String, "value": pl.Float64, "other": pl.Float64, "weight": pl.Float64}
_PEOPLE = {"annotator": pl.String, "rows": pl.Int64, "compared": pl.Int64, "difference": pl.Float64}


@dataclass(frozen=True)
class Sketch:
    """What is kept of a batch: sums that add up over batches.

    `coincidences`: the weight of (value, other value); where `annotator` is not null, what leaving that one out would
    change. `people`: of each annotator the rows, those that others rated too, and the sum of differences from them.
    """

    coincidences: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_COINCIDENCES))
    people: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_PEOPLE))
    rows: int = 0
    rows_rated_twice: int = 0
    ratings: int = 0

    def __add__(self, other: Sketch) -> Sketch:
        return Sketch(
            _summed([self.coincidences, other.coincidences], ["annotator", "value", "other"]),
            _summed([self.people, other.people], ["annotator"]),
            self.rows + other.rows,
            self.rows_rated_twice + other.rows_rated_twice,
            self.ratings + other.ratings,
        )


def _summed(frames: list[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    return pl.concat(frames).group_by(keys, maintain_order=True).sum()


def agreement(table: Table, engine: Engine, level: Level = "ordinal") -> Agreement:
    """Agreement of the annotators of a table of rating rows (column `ratings`), read once. Raises `DataError`."""
    return figures(engine.map(sketch, table.batches(["source", RATINGS])), level)


def figures(sketches: Iterable[Sketch], level: Level = "ordinal") -> Agreement:
    """The result from the sketches of all batches; figures have six decimals, so that no batch size shows."""
    total = sum(sketches, Sketch())
    whole = total.coincidences.filter(pl.col("annotator").is_null())
    changes = total.coincidences.filter(pl.col("annotator").is_not_null()).partition_by("annotator", as_dict=True)
    people = tuple(
        AnnotatorFigures(
            annotator=person["annotator"],
            rows=person["rows"],
            share=round(person["rows"] / total.rows, 6),
            bias=round(person["difference"] / person["compared"], 6) if person["compared"] else None,
            alpha_without=alpha(pl.concat([whole, changes.get((person["annotator"],), whole[:0])]), level),
        )
        for person in total.people.sort("annotator").to_dicts()
    )
    return Agreement(
        level=level,
        alpha=alpha(whole, level),
        same=_same(whole),
        rows=total.rows,
        rows_rated_twice=total.rows_rated_twice,
        ratings=total.ratings,
        annotators=people,
    )


def _same(coincidences: pl.DataFrame) -> float | None:
    weight = float(coincidences["weight"].sum())
    equal = float(coincidences.filter(pl.col("value") == pl.col("other"))["weight"].sum())
    return round(equal / weight, 6) if weight else None


# --- batches -------------------------------------------------------------------------------------------------


def sketch(rows: pl.DataFrame) -> Sketch:
    """The sums of a batch. Raises `DataError` when ratings cannot be read, or are no steps of a scale."""
    rated = ratings_of(rows)
    if not rated.height:
        return Sketch()
    values, codes = np.unique(rated["rating"].to_numpy(), return_inverse=True)
    if len(values) > MOST_VALUES:
        raise DataError(
            f"{rows['source'][0]}: found {len(values):,} different ratings in {rows.height:,} rows, expected at most "
            f"{MOST_VALUES}, steps of a scale; round them, or set curate.annotators.agreement: off"
        )
    units = np.unique(rated["row"].to_numpy(), return_inverse=True)[1]
    counts = _counted(units, codes, len(values))
    found = [_sparse(_coincidences(counts), values, None)]
    for name, positions in _positions(rated["annotator"]):
        own, unit = np.unique(units[positions], return_inverse=True)
        left = counts[own] - _counted(unit, codes[positions], len(values))
        found.append(_sparse(_coincidences(left) - _coincidences(counts[own]), values, name))
    twice = int((counts.sum(axis=1) > 1).sum())
    return Sketch(pl.concat(found), _people(rated), len(counts), twice, rated.height)


def _positions(names: pl.Series) -> Iterable[tuple[str, np.ndarray]]:
    frame = names.to_frame("name").with_row_index("at").group_by("name", maintain_order=True).agg("at")
    return ((name, np.asarray(at)) for name, at in zip(frame["name"], frame["at"], strict=True))


def _counted(units: np.ndarray, codes: np.ndarray, values: int) -> np.ndarray:
    """How often each unit (row of the result) got each value (column)."""
    cells = np.bincount(units * values + codes, minlength=(int(units.max()) + 1) * values)
    return cells.reshape(-1, values)


def _coincidences(counts: np.ndarray) -> np.ndarray:
    """Ordered pairs of values given to one unit, each unit's pairs weighted by 1 / (its ratings - 1); (V, V)."""
    ratings = counts.sum(axis=1)
    weights = np.where(ratings > 1, 1 / np.maximum(ratings - 1, 1), 0)[:, None] * counts
    result: np.ndarray = counts.T @ weights - np.diag(weights.sum(axis=0))
    return result


def _sparse(matrix: np.ndarray, values: np.ndarray, annotator: str | None) -> pl.DataFrame:
    first, second = np.nonzero(matrix)
    columns = {"value": values[first], "other": values[second], "weight": matrix[first, second]}
    return pl.DataFrame(columns).select(pl.lit(annotator, pl.String).alias("annotator"), *columns)


def _people(rated: pl.DataFrame) -> pl.DataFrame:
    own = rated.group_by("row", "annotator", maintain_order=True).agg(pl.col("rating").sum(), count=pl.len())
    rest = pl.col("count").sum().over("row") - pl.col("count")
    mean_of_rest = (pl.col("rating").sum().over("row") - pl.col("rating")) / rest
    difference = pl.when(rest > 0).then(pl.col("rating") / pl.col("count") - mean_of_rest)
    own = own.with_columns(difference.alias("difference"))
    people = own.group_by("annotator", maintain_order=True).agg(
        pl.len().alias("rows"), pl.col("difference").count().alias("compared"), pl.col("difference").sum()
    )
    return people.match_to_schema(_PEOPLE, integer_cast="upcast")


# --- alpha ---------------------------------------------------------------------------------------------------


def alpha(coincidences: pl.DataFrame, level: Level) -> float | None:
    """Krippendorff's alpha from coincidences (value, other, weight); None when all ratings are one value, or none.

    1 - observed / expected disagreement; both are sums over pairs of values, weighted by their squared distance.
    """
    values = np.unique(coincidences["value"].to_numpy())
    at = [np.searchsorted(values, coincidences[name].to_numpy()) for name in ("value", "other")]
    observed = np.zeros((len(values), len(values)))
    np.add.at(observed, tuple(at), coincidences["weight"].to_numpy())
    counts = observed.sum(axis=1)
    distance = _DISTANCES[level](values, counts)
    expected = float((np.outer(counts, counts) * distance).sum())
    if expected <= 0:
        return None
    found = float((observed * distance).sum())
    return round(1 - (float(counts.sum()) - 1) * found / expected, 6)


def _nominal(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.asarray(values[:, None] != values, float)


def _interval(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.asarray((values[:, None] - values) ** 2)


def _ordinal(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ratings that lie between two values, each of the two counted by half."""
    ranks = np.cumsum(counts) - counts / 2
    return np.asarray((ranks[:, None] - ranks) ** 2)


_DISTANCES: dict[Level, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
}
