"""The learning curve on synthetic scores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from posttrain.evaluation.learning_curve import LearningCurve, Point, fit
from posttrain.evaluation.scores import Score

SIZES = (250, 500, 1000)


def points(values: tuple[float, ...], spread: float = 0.002, sizes: tuple[int, ...] = SIZES) -> list[Point]:
    """Scores with a standard error of `spread`."""
    half = 1.96 * spread
    scores = [Score(value=value, low=value - half, high=value + half) for value in values]
    return [Point(rows=rows, score=score) for rows, score in zip(sizes, scores, strict=True)]


def curve(values: tuple[float, ...], spread: float = 0.002) -> LearningCurve:
    return fit(points(values, spread), "slot_f1")


def test_an_exact_power_law_is_found_again() -> None:
    """0.9 - 0.2 × (n / 1000) ** -0.5: 0.5 at 250, 0.9 - 0.2 × 1.41421 = 0.61716 at 500, 0.7 at 1000. The target 0.8
    leaves 0.1 of the gap 0.2, so (n / 1000) ** -0.5 = 0.5 and n = 4,000."""
    found = curve((0.5, 0.9 - 0.2 * 2**0.5, 0.7))
    assert (found.ceiling, found.gap, found.exponent) == pytest.approx((0.9, 0.2, 0.5), abs=1e-3)
    needed = found.rows_needed(0.8)
    assert needed.answer == "reachable"
    assert needed.rows == pytest.approx(4000, rel=0.01)
    assert needed.more == pytest.approx(3000, rel=0.02)
    assert needed.low is not None
    assert needed.high is not None
    assert needed.low < 4000 < needed.high
    assert f"needs some {needed.rows:,} rows in all" in needed.words


def test_the_order_of_the_points_and_lower_is_better_make_no_difference() -> None:
    """A perplexity of 30 + 10 × (n / 1000) ** -1: 70, 50, 40; 35 leaves half the gap, so twice the rows."""
    found = fit(points((70, 50, 40), 0.05)[::-1], "perplexity", higher_is_better=False, best=None)
    assert found.best().value == pytest.approx(30, abs=0.1)
    assert found.at(2000).value == pytest.approx(35, abs=0.1)
    assert found.rows_needed(35).rows == pytest.approx(2000, rel=0.02)


def test_a_target_above_the_ceiling_is_called_that() -> None:
    needed = curve((0.5, 0.9 - 0.2 * 2**0.5, 0.7), 0.0005).rows_needed(0.95)
    assert (needed.answer, needed.rows, needed.more) == ("above_ceiling", None, None)
    assert "levels off at 0.9" in needed.words


def test_a_flat_curve_and_a_noisy_one_say_so() -> None:
    assert curve((0.700, 0.701, 0.700)).rows_needed(0.8).answer == "flat"
    noisy = curve((0.68, 0.69, 0.70), 0.03).rows_needed(0.8)
    assert (noisy.answer, noisy.rows) == ("noisy", None)
    assert "measure on more rows" in noisy.words


def test_what_has_not_begun_is_not_called_flat() -> None:
    needed = curve((0.0, 0.001, 0.0), 0.0005).rows_needed(0.8)
    assert (needed.answer, needed.rows) == ("not_begun", None)
    assert "nothing is learned yet" in needed.words


def test_what_would_take_too_many_rows_is_not_drawn() -> None:
    """0.9 - 0.2 × (n / 1000) ** -0.2: 0.89 leaves a twentieth of the gap, 20 ** 5 = 3.2 million times the rows."""
    values = tuple(0.9 - 0.2 * (n / 1000) ** -0.2 for n in SIZES)
    assert curve(values, 0.0005).rows_needed(0.89).answer == "too_far"


def test_a_target_that_is_met_needs_no_more_rows() -> None:
    needed = curve((0.5, 0.9 - 0.2 * 2**0.5, 0.7)).rows_needed(0.6)
    assert (needed.answer, needed.more) == ("met", 0)
    assert needed.rows is not None
    assert 400 < needed.rows < 500  # (0.2 / 0.3) ** 2 × 1000 = 444


def test_no_share_is_expected_above_one() -> None:
    straight = curve((0.7, 0.8, 0.9))  # as much again at each doubling, so no ceiling in sight
    assert straight.at(1_000_000).high <= 1.0


def test_three_sizes_are_needed() -> None:
    with pytest.raises(ValueError, match="needs three sizes, found 2"):
        fit(points((0.5, 0.6), sizes=(250, 500)))


def test_resampled_scores_of_the_same_rows_are_surer_than_independent_ones() -> None:
    """When all sizes rise and fall together, the rise from one to the other hardly moves."""
    random = np.random.default_rng(0)
    values = (0.5, 0.617, 0.7)
    together = np.array(values) + random.normal(0, 0.02, size=(1000, 1)) + random.normal(0, 0.002, size=(1000, 3))
    paired = fit(points(values, 0.02), draws=together).rises
    alone = fit(points(values, 0.02)).rises
    assert paired[1] - paired[0] < (alone[1] - alone[0]) / 3


@pytest.mark.parametrize("truth", [(0.9, 0.2, 0.5), (0.95, 0.1, 1.0), (0.85, 0.3, 0.3)])
def test_the_interval_covers_the_truth(truth: tuple[float, float, float]) -> None:
    """Of 200 curves measured with errors of 0.004, the 95 % interval at twice the rows holds the truth in about 95 %;
    (binomial: 88 % and less happens once in ten thousand when the coverage is 95 %)."""
    ceiling, gap, exponent = truth
    random = np.random.default_rng(1)
    clean = np.array([ceiling - gap * (n / 1000) ** -exponent for n in SIZES])
    real = ceiling - gap * 2**-exponent
    held = 0
    for _ in range(200):
        found = fit(points(tuple(random.normal(clean, 0.004)), 0.004), resamples=300, seed=int(random.integers(1e9)))
        expected = found.at(2000)
        held += expected.low <= real <= expected.high
    assert held / 200 >= 0.88
