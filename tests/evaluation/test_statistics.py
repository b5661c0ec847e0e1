"""The paired bootstrap, against what theory says."""

from __future__ import annotations

import numpy as np
import pytest

from posttrain.evaluation import statistics
from posttrain.evaluation.metrics import exponential_mean, mean, micro_f1


def hits(right: int, rows: int) -> statistics.Floats:
    return np.array([[1.0]] * right + [[0.0]] * (rows - right))


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    """80 of 100: standard error sqrt(0.8 × 0.2 / 100) = 0.04, so 0.8 ± 1.96 × 0.04 = [0.722, 0.878]."""
    found = statistics.interval(hits(80, 100), mean, resamples=4000)
    assert found.value == 0.8
    assert found.low == pytest.approx(0.722, abs=0.015)
    assert found.high == pytest.approx(0.878, abs=0.015)


def test_the_interval_of_f1_resamples_rows_not_pairs() -> None:
    """One row holds all of the misses: resamples without it score 1, those with it twice score less than 2/3."""
    columns = np.array([[1.0, 0, 0], [1, 0, 0], [0, 0, 2]])
    found = statistics.interval(columns, micro_f1)
    assert found.value == pytest.approx(4 / (4 + 2))
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_gain_that_is_the_same_on_every_row_is_certain() -> None:
    found = statistics.gain(hits(10, 10), hits(0, 10), mean, resamples=999)
    assert (found.value, found.low, found.high, found.detectable) == (1.0, 1.0, 1.0, 0.0)
    assert found.p_value == pytest.approx(2 / 1000)


def test_equal_answers_are_no_gain() -> None:
    found = statistics.gain(hits(5, 10), hits(5, 10), mean)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_pairing_cancels_what_is_hard_for_both() -> None:
    """Both models fail the same 50 of 100 rows; the candidate gets 5 more right. Unpaired, the standard error
    would be 0.07 and the gain of 0.05 nothing; paired it is sqrt(0.05 × 0.95 / 100) = 0.022, and real."""
    found = statistics.gain(hits(55, 100), hits(50, 100), mean, resamples=4000)
    assert found.value == pytest.approx(0.05)
    assert found.low > 0
    assert found.detectable == pytest.approx(2.8 * 0.0218, rel=0.1)
    assert found.p_value < 0.05


def test_lower_is_better_turns_the_sign() -> None:
    """Perplexity e^1 for the candidate and e^2 for the reference: a gain of e^2 - e^1."""
    better, worse = np.array([[10.0, 10.0]] * 4), np.array([[20.0, 10.0]] * 4)
    found = statistics.gain(better, worse, exponential_mean, higher_is_better=False)
    assert found.value == pytest.approx(np.e**2 - np.e)
    assert found.low > 0


def test_the_same_seed_gives_the_same_numbers_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    first = statistics.interval(hits(30, 50), mean, 500, seed=1)
    monkeypatch.setattr(statistics, "_CELLS", 50 * 7)
    assert statistics.interval(hits(30, 50), mean, 500, seed=1) == first
    assert statistics.interval(hits(30, 50), mean, 500, seed=2) != first
