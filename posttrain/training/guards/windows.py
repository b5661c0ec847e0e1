"""Then and now: a metric's first and last few observations, and whether they differ for sure.

Pure numbers. Medians, because single points are noisy; t intervals, because windows are short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from posttrain.training.guards.finding import History

# Of a normal distribution: standard deviation over median absolute deviation, and of a median over that of a mean.
SIGMA_OF_MAD = 1.4826
MEDIAN_OVER_MEAN = 1.2533
LEVEL = 0.99

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """`after` minus `before` (means), with the interval in which the true change lies."""

    before: float
    after: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """The change itself."""
        return self.after - self.before


def series(history: History, *names: str) -> list[float]:
    """The values of the first of `names` that was observed at all, in order."""
    for name in names:
        if found := [one.metrics[name] for one in history if name in one.metrics]:
            return found
    return []


def ends(values: Sequence[float], window: int) -> tuple[list[float], list[float]] | None:
    """The first and the last `window` values; None while they would overlap."""
    if len(values) < 2 * window:
        return None
    return list(values[:window]), list(values[-window:])


def since_first(values: Sequence[float], window: int) -> Change | None:
    """From the first value, which the untouched policy gave, to the mean of the last `window`; None while they overlap.

    The interval is that of a single value beside a window: t with window - 1 degrees of freedom, the window's standard
    deviation times √(1 + 1/window). So a fault in the very first rollouts does not pass for the start.
    """
    if len(values) <= window:
        return None
    last = np.asarray(values[-window:], float)
    error = float(last.std(ddof=1)) * math.sqrt(1 + 1 / window)
    return _around(values[0], float(last.mean()), error, window - 1, LEVEL)


def paired_change(before: Sequence[float] | Floats, after: Sequence[float] | Floats, level: float = LEVEL) -> Change:
    """Paired t interval: the same prompts, then and now."""
    first, second = np.asarray(before, float), np.asarray(after, float)
    differences = second - first
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return _around(float(first.mean()), float(second.mean()), error, len(differences) - 1, level)


def _around(before: float, after: float, error: float, freedom: float, level: float) -> Change:
    reach = float(stdtrit(freedom, (1 + level) / 2)) * error if error else 0.0
    return Change(before, after, after - before - reach, after - before + reach)


def noise(values: Sequence[float]) -> float:
    """Standard deviation of single values around their trend: from the steps between neighbours, robustly."""
    steps = np.diff(np.asarray(values, float))
    if not len(steps):
        return 0.0
    return SIGMA_OF_MAD * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2)


def lowest(values: Sequence[float], window: int) -> float:
    """The lowest median of `window` neighbouring values."""
    return min(median(values[at : at + window]) for at in range(len(values) - window + 1))
