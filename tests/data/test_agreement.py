"""Krippendorff's alpha: as published, as derived by hand, as another implementation has it; per annotator too."""

from __future__ import annotations

import json
from pathlib import Path

import krippendorff
import numpy as np
import polars as pl
import pytest

from posttrain.data.engine import Local
from posttrain.data.steps.agreement import Agreement, Level, agreement, figures, sketch
from posttrain.data.table import Table, TableWriter
from posttrain.errors import DataError

LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")


def frame(*rows: dict[str, float]) -> pl.DataFrame:
    """One row for each {annotator: rating}."""
    ratings = [json.dumps([{"annotator": who, "rating": what} for who, what in row.items()]) for row in rows]
    return pl.DataFrame({"source": [f"x:{n}" for n in range(len(rows))], "ratings": ratings})


def of(*rows: dict[str, float], level: Level = "interval") -> Agreement:
    return figures([sketch(frame(*rows))], level)


PUBLISHED = (
    "1 2 3 3 2 1 4 1 2 * * *",
    "1 2 3 3 2 2 4 1 2 5 * 3",
    "* 3 3 3 2 3 4 2 2 5 1 *",
    "1 2 3 3 2 4 4 1 2 5 1 *",
)
"""Krippendorff 2011, example C: four observers, twelve units, 41 values."""


def test_the_published_example() -> None:
    observers = [line.split() for line in PUBLISHED]
    units = [
        {name: float(value) for name, value in zip("ABCD", unit, strict=True) if value != "*"}
        for unit in zip(*observers, strict=True)
    ]
    found = {level: of(*units, level=level) for level in LEVELS}
    assert {level: round(result.alpha or 0, 3) for level, result in found.items()} == {
        "nominal": 0.743,
        "ordinal": 0.815,
        "interval": 0.849,
    }
    assert (found["nominal"].rows, found["nominal"].rows_rated_twice, found["nominal"].ratings) == (12, 11, 41)


def test_by_hand() -> None:
    """Two people, three rows: (1, 1), (1, 2), (2, 2).

    Coincidences: 1-1 twice, 2-2 twice, 1-2 and 2-1 once each; three ratings of each value, six in all.
    Observed disagreement 2 / 6; expected 2 * 3 * 3 / (6 * 5) = 18 / 30. alpha = 1 - (1/3) / (3/5) = 4 / 9.
    """
    for level in LEVELS:  # with two neighbouring values all three distances are one number
        found = of({"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}, level=level)
        assert found.alpha == pytest.approx(4 / 9, abs=1e-6)
        assert found.same == pytest.approx(2 / 3, abs=1e-6)  # two of three rows


def test_levels_differ_by_hand() -> None:
    """Two people, two rows: (1, 3), (2, 2). Ratings: one 1, two 2s, one 3; observed is one pair, 1-3, both ways.

    Of the 12 ordered pairs by chance, 4 are 1-2 or 2-1, 4 are 2-3 or 3-2, 2 are 1-3 or 3-1.
    interval: observed 2 * 4 / 4 = 2; expected (4 * 1 + 4 * 1 + 2 * 4) / 12 = 4 / 3; alpha = 1 - 2 / (4 / 3) = -0.5.
    nominal: observed 2 / 4; expected (4 + 4 + 2) / 12 = 5 / 6; alpha = 1 - 0.5 / (5 / 6) = 0.4.
    """
    rows = ({"a": 1, "b": 3}, {"a": 2, "b": 2})
    assert of(*rows, level="interval").alpha == pytest.approx(-0.5)
    assert of(*rows, level="nominal").alpha == pytest.approx(0.4)


def random_rows(seed: int, count: int = 60) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 6, count)
    chosen = [
        {name: float(np.clip(level + rng.integers(-1, 2), 1, 5)) for name in "abcde" if rng.random() < 0.6}
        for level in truth
    ]
    return [row for row in chosen if row]


def matrix(rows: list[dict[str, float]], without: str = "") -> np.ndarray:
    names = [name for name in "abcde" if name != without]
    return np.array([[row.get(name, np.nan) for row in rows] for name in names])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(5))
def test_alpha_and_alpha_without_each_are_the_other_implementations(seed: int, level: Level) -> None:
    rows = random_rows(seed)
    found = of(*rows, level=level)
    assert found.alpha == pytest.approx(krippendorff.alpha(matrix(rows), level_of_measurement=level), abs=1e-6)
    assert [person.annotator for person in found.annotators] == list("abcde")
    for person in found.annotators:
        expected = krippendorff.alpha(matrix(rows, person.annotator), level_of_measurement=level)
        assert person.alpha_without == pytest.approx(expected, abs=1e-6)


def test_a_person_who_disagrees_shows() -> None:
    """Carl is two above ann and bob, who agree: bias 2, and alpha without him is 1. Dora has rated alone."""
    rows = [{"ann": n % 3 + 1, "bob": n % 3 + 1, "carl": n % 3 + 3} for n in range(9)]
    found = of(*rows, {"dora": 4})
    people = {person.annotator: person for person in found.annotators}
    assert (people["carl"].bias, people["carl"].alpha_without, people["carl"].rows) == (2, 1, 9)
    assert people["ann"].bias == -1  # the others' mean is one above
    assert people["ann"].alpha_without is not None
    assert people["ann"].alpha_without < 0.5
    assert people["carl"].share == 0.9
    assert (people["dora"].bias, people["dora"].rows) == (None, 1)


def test_batches_do_not_matter(tmp_path: Path) -> None:
    rows = frame(*random_rows(7, 300))
    with TableWriter(tmp_path / "rows.parquet", rows.columns) as writer:
        writer.write(rows)
    whole = agreement(Table(tmp_path / "rows.parquet"), Local())
    parts = figures([sketch(rows[at : at + 7]) for at in range(0, rows.height, 7)])
    assert parts == whole
    assert whole.text().startswith("Krippendorff's alpha 0.")


def test_nothing_to_compare_is_no_agreement() -> None:
    assert of({"a": 1}, {"b": 2}).alpha is None
    assert of({"a": 3, "b": 3}, {"a": 3, "b": 3}).alpha is None  # one value only: nothing can disagree
    assert figures([]).alpha is None
    assert sketch(pl.DataFrame({"source": ["x"], "ratings": [""]})).ratings == 0


def test_one_person_may_rate_a_row_twice() -> None:
    ratings = [{"annotator": "a", "rating": 1}, {"annotator": "a", "rating": 3}, {"annotator": "b", "rating": 4}]
    found = figures([sketch(pl.DataFrame({"source": ["x"], "ratings": [json.dumps(ratings)]}))], "interval")
    assert [(person.annotator, person.rows, person.bias) for person in found.annotators] == [("a", 1, -2), ("b", 1, 2)]


def test_ratings_that_are_no_scale_are_refused() -> None:
    with pytest.raises(DataError, match=r"x:0: found 300 different ratings in 300 rows, .* round them"):
        sketch(frame(*({"a": number / 7} for number in range(300))))
