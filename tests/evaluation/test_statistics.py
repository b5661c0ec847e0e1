"""The paired bootstrap, against what theory says; tests of pairs, against values derived by hand."""

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
    """Ten coins that all fall on one side: p = 2 / 2^10. There is no spread, but six of ten rows have to be won."""
    found = statistics.gain(hits(10, 10), hits(0, 10), mean, resamples=999)
    assert (found.value, found.low, found.high, found.detectable) == (1.0, 1.0, 1.0, 0.6)
    assert (found.test, found.p_value) == ("McNemar", pytest.approx(2 / 1024))


def test_equal_answers_are_no_gain() -> None:
    found = statistics.gain(hits(5, 10), hits(5, 10), mean)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_mcnemar_looks_only_at_rows_that_one_of_them_gets_right() -> None:
    """8 rows that only the candidate gets right, 2 that only the reference does, 90 alike: ten coins, eight or more
    heads or as many tails: 2 × (45 + 10 + 1) / 1024."""
    candidate = np.array([[1.0]] * 8 + [[0.0]] * 2 + [[1.0]] * 90)
    reference = np.array([[0.0]] * 8 + [[1.0]] * 2 + [[1.0]] * 90)
    assert statistics.gain(candidate, reference, mean).p_value == pytest.approx(112 / 1024)


def test_a_metric_that_is_no_share_is_tested_by_exchanging_rows() -> None:
    """Three rows, all better: of the 8 ways to exchange, one gives as large a gain, and one as large a loss."""
    better, worse = np.array([[0.5], [0.7], [0.9]]), np.array([[0.4], [0.5], [0.6]])
    found = statistics.gain(better, worse, mean)
    assert (found.test, found.p_value) == ("permutation", pytest.approx(2 / 8))
    assert statistics.gain(worse, better, mean).p_value == pytest.approx(2 / 8)


def test_exchanged_rows_of_f1_are_counted_together() -> None:
    """Two rows of two slots, all found against all missed. Both exchanged: -1; one exchanged: F1 is 2/3 on both sides,
    no gain; so one way in four gains as much."""
    found, missed = np.array([[2.0, 0, 0]] * 2), np.array([[0.0, 0, 2]] * 2)
    assert statistics.permutation(found, missed, micro_f1) == pytest.approx(2 / 4)


def test_many_rows_are_exchanged_at_random_and_agree_with_theory() -> None:
    """A mean gain of 0.1 with a spread of 1 over 400 rows: z = 2, p = 0.0455."""
    rng = np.random.default_rng(1)
    gains = rng.standard_normal(400)
    gains = (gains - gains.mean()) / gains.std() + 0.1
    p_value = statistics.permutation(gains[:, None], np.zeros((400, 1)), mean, 9999)
    assert p_value == pytest.approx(0.0455, abs=0.008)


def test_holms_correction_by_hand() -> None:
    """Smallest first: 0.01 × 3, then 0.03 × 2, then 0.04 × 1, which may not be smaller than the one before."""
    assert statistics.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_pairing_cancels_what_is_hard_for_both() -> None:
    """Both models fail the same 44 of 100 rows; the candidate gets 6 more right. Unpaired, the standard error
    would be 0.07 and the gain of 0.06 nothing; paired it is sqrt(0.06 × 0.94 / 100) = 0.024, and real."""
    found = statistics.gain(hits(56, 100), hits(50, 100), mean, resamples=4000)
    assert found.value == pytest.approx(0.06)
    assert found.low > 0
    assert found.detectable == pytest.approx(2.8 * 0.0237, rel=0.1)
    assert found.p_value == pytest.approx(2 / 2**6)


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
