"""The learning curve: a metric at several sizes of the training set, and how many rows a target would need.

The power law `score = ceiling - gap × (rows / most) ** -exponent` (Hestness et al. 2017, arXiv 1712.00409, for losses),
where `most` is the largest size that was trained on. Weighted least squares: for each exponent of a grid the other two
follow in closed form under `gap ≥ 0` and `ceiling ≤ best`; SciPy then polishes the exponent. The interval refits
resampled scores. What it covers is the choice of measured rows; chance in training itself (seed, order) comes on top,
so it is a lower bound of the doubt. Pure; knows nothing of training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from posttrain.artifacts import Frozen
from posttrain.evaluation.scores import Score

Floats = NDArray[np.float64]

EXPONENTS = np.geomspace(0.05, 3.0, 120)
"""Steeper than 3 a curve has reached its ceiling; flatter than 0.05 it is a straight line in log(rows)."""
FARTHEST = 16.0
"""A curve of three points is not drawn further than so many times the rows that were tried."""
FLAT = 0.01
"""A gain surely below this, from the smallest size to the largest, is none worth collecting rows for."""
NORMAL = 1.959964

FLOOR = 0.02
"""Scores of a share that are surely below this at every size say that learning has not begun, not how it goes on."""

Answer = Literal["met", "reachable", "not_begun", "flat", "noisy", "above_ceiling", "too_far"]


class Point(Frozen):
    """The metric after training on so many rows, with its 95 % interval."""

    rows: int
    score: Score


class RowsNeeded(Frozen):
    """How many rows in all a target needs; `rows` is None where the curve cannot say, and `words` says why.

    `low`, `high`: 95 % interval; an end that lies beyond what may be said is None.
    """

    metric: str
    target: float
    answer: Answer
    tried: int
    rows: int | None
    low: int | None
    high: int | None
    words: str

    @property
    def more(self) -> int | None:
        """Rows to add to those that were tried."""
        return None if self.rows is None else max(0, self.rows - self.tried)


@dataclass(frozen=True)
class LearningCurve:
    """A fitted curve. `drawn` is (resamples, 3): ceiling, gap and exponent of each refit, all times `sign`."""

    metric: str
    points: tuple[Point, ...]
    sign: float
    ceiling: float
    gap: float
    exponent: float
    drawn: Floats
    rises: tuple[float, float]
    """95 % interval of the gain from the smallest size to the largest."""

    @property
    def most(self) -> int:
        """The largest size that was tried."""
        return self.points[-1].rows

    def at(self, rows: float) -> Score:
        """The score to expect after training on so many rows, with its 95 % interval."""
        size = rows / self.most
        value = self.ceiling - self.gap * size**-self.exponent
        low, high = np.quantile(self.drawn[:, 0] - self.drawn[:, 1] * size ** -self.drawn[:, 2], [0.025, 0.975])
        return self._score(value, float(low), float(high))

    def best(self) -> Score:
        """The score that no number of rows would be over."""
        low, high = np.quantile(self.drawn[:, 0], [0.025, 0.975])
        return self._score(self.ceiling, float(low), float(high))

    def _score(self, value: float, low: float, high: float) -> Score:
        low, high = sorted((self.sign * low, self.sign * high))
        return Score(value=self.sign * value, low=low, high=high)

    def rows_needed(self, target: float) -> RowsNeeded:
        """How many rows in all would meet `target`, or why that cannot be said."""
        wanted = self.sign * target
        needed = float(_needed(np.array([[self.ceiling, self.gap, self.exponent]]), wanted)[0]) * self.most
        low, high = (_sayable(n * self.most) for n in self._interval(wanted))
        answer = self._answer(wanted, needed)
        known = answer in ("met", "reachable")
        rows = min(math.ceil(needed), self.most) if answer == "met" else math.ceil(needed) if known else None
        return RowsNeeded(
            metric=self.metric,
            target=target,
            answer=answer,
            tried=self.most,
            rows=rows,
            low=self._bounded(low) if known else None,
            high=self._bounded(high) if known else None,
            words=self._words(answer, target, rows, low, high),
        )

    def _interval(self, wanted: float) -> tuple[float, float]:
        # Refits that never reach the target are infinite, between which nothing can be interpolated.
        low, high = np.quantile(_needed(self.drawn, wanted), [0.025, 0.975], method="nearest")
        return float(low), float(high)

    def _answer(self, wanted: float, needed: float) -> Answer:
        if self.sign * self.points[-1].score.value >= wanted:
            return "met"
        low, high = self.rises
        if self.sign > 0 and max(point.score.high for point in self.points) < FLOOR:
            return "not_begun"
        if low <= 0:
            return "flat" if high < FLAT else "noisy"
        if math.isinf(needed):
            return "above_ceiling" if np.quantile(self.drawn[:, 0], 0.975) < wanted else "noisy"
        return "too_far" if needed > FARTHEST * self.most else "reachable"

    def _bounded(self, rows: float | None) -> int | None:
        return None if rows is None or rows > FARTHEST * self.most else math.ceil(rows)

    def _words(self, answer: Answer, target: float, rows: int | None, low: float | None, high: float | None) -> str:
        story = ", ".join(f"{point.rows:,} rows {point.score.value:.3f}" for point in self.points)
        said = f"learning curve of {self.metric} ({story})"
        if answer == "not_begun":
            return (
                f"{said}: nothing is learned yet at any of these sizes, so it cannot be drawn; train longer or on more"
            )
        if answer == "flat":
            return f"{said}: flat, more rows of the same kind would change it by less than {FLAT:g}"
        if answer == "noisy":
            ceiling = f"its ceiling is {self.best()}"
            return f"{said}: too noisy to tell how many rows {target:g} needs ({ceiling}); measure on more rows"
        if answer == "above_ceiling":
            return f"{said}: levels off at {self.best()}, so rows of the same kind alone would not reach {target:g}"
        if answer == "too_far":
            return f"{said}: {target:g} lies beyond {FARTHEST:g} times the rows tried, further than it can be drawn"
        if answer == "met":
            return f"{said}: {target:g} is met, from some {rows:,} rows on"
        least, most = self._bounded(low), self._bounded(high)
        ends = f"[{least:,}, {most:,}]" if least and most else f"at least {least:,}, no upper bound" if least else ""
        return f"{said}: {target:g} needs some {rows:,} rows in all ({ends or 'no bounds'})"


def fit(
    points: Sequence[Point],
    metric: str = "",
    *,
    higher_is_better: bool = True,
    best: float | None = 1.0,
    draws: Floats | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> LearningCurve:
    """Fit the power law through at least three sizes.

    `best`: no ceiling lies beyond it (1 for shares and F1; None for what has no bound). `draws`: (resamples, sizes),
    the scores on resampled rows, the same rows at every size, so that what is hard for all cancels out; without it
    scores are drawn from their intervals as if independent, which doubts too much rather than too little.

    Raises: ValueError for fewer than three different sizes.
    """
    points = tuple(sorted(points, key=lambda point: point.rows))
    if len({point.rows for point in points}) < 3:
        raise ValueError(f"a learning curve needs three sizes, found {len({point.rows for point in points})}")
    sign = 1.0 if higher_is_better else -1.0
    limit = math.inf if best is None else sign * best
    sizes = np.array([point.rows for point in points], float) / points[-1].rows
    spread = np.array([max(point.score.high - point.score.low, 1e-6) for point in points]) / (2 * NORMAL)
    values = sign * np.array([point.score.value for point in points])
    if draws is None:
        draws = np.random.default_rng(seed).normal(values, spread, size=(resamples, len(points)))
    else:
        draws = sign * np.asarray(draws, float)
    ceiling, gap, exponent = _polished(values, sizes, 1 / spread**2, limit)
    rise = np.quantile(draws[:, -1] - draws[:, 0], [0.025, 0.975])
    return LearningCurve(
        metric=metric,
        points=points,
        sign=sign,
        ceiling=ceiling,
        gap=gap,
        exponent=exponent,
        drawn=_fitted(draws, sizes, 1 / spread**2, limit, EXPONENTS),
        rises=(float(rise[0]), float(rise[1])),
    )


def _polished(values: Floats, sizes: Floats, weights: Floats, limit: float) -> tuple[float, float, float]:
    """The best exponent between the grid's neighbours, and what goes with it."""
    from scipy import optimize

    rough = float(_fitted(values[None], sizes, weights, limit, EXPONENTS)[0, 2])
    step = EXPONENTS[1] / EXPONENTS[0]

    def lost(exponent: float) -> float:
        ceiling, gap, _ = _fitted(values[None], sizes, weights, limit, np.array([exponent]))[0]
        return float((weights * (values - ceiling + gap * sizes**-exponent) ** 2).sum())

    bounds = (max(rough / step, EXPONENTS[0]), min(rough * step, EXPONENTS[-1]))
    found = float(optimize.minimize_scalar(lost, bounds=bounds, method="bounded").x)
    ceiling, gap, exponent = _fitted(values[None], sizes, weights, limit, np.array([found]))[0]
    return float(ceiling), float(gap), float(exponent)


def _fitted(values: Floats, sizes: Floats, weights: Floats, limit: float, exponents: Floats) -> Floats:
    """(rows, 3): ceiling, gap, exponent of the least squares for each row of `values` (rows, sizes)."""
    steps = sizes[None, :] ** -exponents[:, None]
    total = weights.sum()
    mean_step, mean = (weights * steps).sum(1) / total, (weights * values).sum(1) / total
    off = steps - mean_step[:, None]
    slope = ((weights * off) @ (values - mean[:, None]).T) / np.maximum((weights * off**2).sum(1), 1e-12)[:, None]
    gap = np.maximum(-slope, 0.0)
    ceiling = mean[None, :] + gap * mean_step[:, None]
    if np.isfinite(limit):
        through = ((weights * steps) @ (limit - values).T) / (weights * steps**2).sum(1)[:, None]
        gap = np.where(ceiling > limit, np.maximum(through, 0.0), gap)
        ceiling = np.minimum(ceiling, limit)
    drawn = ceiling[:, :, None] - gap[:, :, None] * steps[:, None, :]
    chosen = (weights * (values[None] - drawn) ** 2).sum(2).argmin(0)
    at = np.arange(len(values))
    return np.stack([ceiling[chosen, at], gap[chosen, at], exponents[chosen]], axis=1)


def _needed(curves: Floats, wanted: float) -> Floats:
    """Rows over the most that were tried, for each (ceiling, gap, exponent); infinite where the ceiling is too low."""
    ceiling, gap, exponent = curves.T
    room = ceiling - wanted
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        needed = (gap / np.maximum(room, 1e-300)) ** (1 / exponent)
    return np.where(room > 1e-12, np.maximum(needed, 0.0), np.inf)


def _sayable(rows: float) -> float | None:
    return None if math.isinf(rows) or math.isnan(rows) else rows
