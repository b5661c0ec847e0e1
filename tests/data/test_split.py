"""The validation split: in proportion, of the size asked for, and never through a cluster."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from posttrain.data.curate.split import joined, mask, validation_rows


def groups(*counted: tuple[str, int]) -> pl.Series:
    return pl.Series([name for name, count in counted for _ in range(count)], dtype=pl.String)


def test_groups_are_in_proportion() -> None:
    # 70 : 20 : 10 of ten rows are 7, 2 and 1.
    found = validation_rows(groups(("a", 70), ("b", 20), ("c", 10)), None, 10, 0)
    assert np.histogram(found, [0, 70, 90, 100])[0].tolist() == [7, 2, 1]


def test_what_rounding_leaves_goes_to_the_largest_remainders() -> None:
    # Ten rows of 55 : 25 : 20 are 5.5, 2.5 and 2: the odd one goes to the first of equal remainders.
    found = validation_rows(groups(("a", 55), ("b", 25), ("c", 20)), None, 10, 3)
    assert np.histogram(found, [0, 55, 80, 100])[0].tolist() == [6, 2, 2]


@pytest.mark.parametrize(("rows", "wanted", "expected"), [(0, 5, 0), (1, 5, 0), (2, 5, 1), (50, 700, 5), (100, 3, 3)])
def test_at_most_a_tenth_and_at_least_one_row(rows: int, wanted: int, expected: int) -> None:
    assert len(validation_rows(groups(("", rows)), None, wanted, 0)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_no_cluster_straddles_the_split(seed: int) -> None:
    rng = random.Random(seed)
    clusters = np.array([rng.randrange(60) for _ in range(400)])
    strata = pl.Series([rng.choice("abc") for _ in range(400)])
    flags = mask(strata, clusters, 40, seed)
    assert not set(clusters[flags]) & set(clusters[~flags])
    assert 20 <= flags.sum() <= 40  # clusters have about seven rows, and three groups may each lack one
    assert (mask(strata, clusters, 40, seed) == flags).all()


def test_a_cluster_that_does_not_fit_is_left_to_training() -> None:
    clusters = np.array([0] * 50 + list(range(1, 51)))
    assert min(validation_rows(groups(("", 100)), clusters, 10, 0)) >= 50


def test_another_seed_is_another_split() -> None:
    strata = groups(("a", 1000))
    assert set(validation_rows(strata, None, 50, 0)) != set(validation_rows(strata, None, 50, 1))


def test_the_choice_of_a_seed_stays_what_it_was() -> None:
    """A change here changes the splits of every pipeline that has run. Rows 0 and 6, 1 and 7, … are clusters."""
    strata = pl.Series(["ab"[number % 3 == 0] for number in range(60)])
    clusters = np.array([number % 6 if number < 12 else number for number in range(60)])
    assert validation_rows(strata, clusters, 6, 7).tolist() == [48, 53, 12, 40, 23, 43]


def test_a_column_of_the_users_joins_clusters() -> None:
    # Row 0 and 1 are near-duplicates; 1 and 2 are of one customer; 4 and 5 are of another; 3 and 6 have none.
    clusters = np.array([7, 7, 9, 10, 11, 12, 13])
    found = joined(clusters, pl.Series(["", "ann", "ann", "", "bob", "bob", ""]))
    assert found[0] == found[1] == found[2]
    assert found[4] == found[5]
    assert len(set(found)) == 4


def test_no_keys_leave_the_clusters_as_they_are() -> None:
    clusters = np.array([3, 5, 3, 8])
    found = joined(clusters, pl.Series([""] * 4, dtype=pl.String))
    assert found[0] == found[2]
    assert len(set(found)) == 3
    assert joined(np.array([], np.int64), pl.Series([], dtype=pl.String)).tolist() == []
