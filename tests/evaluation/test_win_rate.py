"""Win rates with the length taken out; numbers derived by hand, or held to scikit-learn's regression."""

from __future__ import annotations

import math

import numpy as np
import pytest

from posttrain.evaluation import statistics
from posttrain.evaluation.measure import score
from posttrain.evaluation.metrics import METRICS
from posttrain.evaluation.metrics.win_rate import LONGER, PREFERENCE, PRIOR

Rows = list[dict[str, float]]


def rows(*groups: tuple[int, float, float]) -> Rows:
    """Groups of (how many rows, preference, characters longer)."""
    return [{PREFERENCE: won, LONGER: longer} for count, won, longer in groups for _ in range(count)]


def value(table: Rows, metric: str = "length_controlled_win_rate") -> float:
    return score(table, metric, 10, 0).value


def test_a_judge_that_looks_at_length_only() -> None:
    """Of 4,000 longer outputs it prefers 3,600, of 1,000 shorter ones 100: nine in ten go to the longer answer.

    Two points determine a and b exactly: σ(a + bt) = 0.9 and σ(a - bt) = 0.1, so a = 0 and the rate 0.5. Raw: 0.74.
    """
    table = rows((3600, 1, 100), (400, 0, 100), (100, 1, -100), (900, 0, -100))
    assert value(table, "win_rate") == pytest.approx(0.74)
    assert value(table) == pytest.approx(0.5, abs=0.01)


def test_a_better_model_that_is_also_longer() -> None:
    """Longer: 3,800 of 4,000; shorter: 500 of 1,000. The spread of 4 times 100 and once -100 is 80, t = tanh(1.25).

    logit 0.95 = a + bt, logit 0.5 = 0 = a - bt: a = logit(0.95) / 2 = 1.472, so σ(a) = 0.8134.
    """
    table = rows((3800, 1, 100), (200, 0, 100), (500, 1, -100), (500, 0, -100))
    odds = math.sqrt(0.95 / 0.05)
    assert value(table) == pytest.approx(odds / (1 + odds), abs=0.01)


def test_where_length_does_not_differ_it_is_the_win_rate() -> None:
    assert value(rows((6, 1, 0), (2, 0.5, 0), (2, 0, 0))) == pytest.approx(0.7, abs=1e-6)
    assert value(rows((5, 1, 30))) == pytest.approx(1, abs=1e-5)
    assert value(rows((5, 0, 30))) == pytest.approx(0, abs=1e-5)


def test_where_one_model_is_always_shorter_little_is_read_into_it() -> None:
    """3 of 100 rows are won, whatever the length: without the prior nothing would hold a and b, with it a is near."""
    table = rows((1, 1, -1000), (2, 1, -1100), (47, 0, -1200), (50, 0, -1500))
    assert 0.03 < value(table) < 0.15


def test_it_is_scikit_learns_regression() -> None:
    """Without the sharing out between nodes, with the same prior (C = 1 / prior, on the slope alone)."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    longer = random.normal(60, 200, 400).round()
    chance = 1 / (1 + np.exp(-(0.4 + 1.5 * np.tanh(longer / longer.std()))))
    won = (random.random(400) < chance).astype(float)
    table = [{PREFERENCE: float(w), LONGER: float(d)} for w, d in zip(won, longer, strict=True)]
    known = LogisticRegression(C=1 / PRIOR, tol=1e-8).fit(np.tanh(longer / longer.std())[:, None], won)
    expected = 1 / (1 + math.exp(-known.intercept_[0]))
    assert value(table) == pytest.approx(expected, abs=0.003)
    found = score(table, "length_controlled_win_rate", 300, 0)
    assert found.low < expected < found.high


def test_two_models_are_compared_in_pairs() -> None:
    """The same judge and rival: ours wins where theirs ties on 20 of 40 rows; the gain is 0.25, and no chance."""
    ours, theirs = (np.array([[won]] * 20 + [[0.0]] * 20) for won in (1.0, 0.5))
    gain = statistics.gain(ours, theirs, METRICS["win_rate"].total, resamples=500)
    assert gain.value == pytest.approx(0.25)
    assert gain.test == "permutation"
    assert gain.p_value < 0.05
