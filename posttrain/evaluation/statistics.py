"""How sure a score or a gain is: the paired bootstrap, in numpy.

Every metric is a function of *sums over rows* (hits and rows, or true and false positives), so resampling rows is
one matrix product: draws (resamples, rows) times columns (rows, k). Knows nothing of what the columns mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posttrain.evaluation.scores import Gain, Score

Floats = NDArray[np.float64]
Total = Callable[[Floats, int], Floats]

LEVEL = 0.95
# (1.96 + 0.84) standard errors: a two-sided test at 5 % finds such a gain with 80 % power.
DETECTABLE_STANDARD_ERRORS = 2.8
_CELLS = 4_000_000


def interval(columns: Floats, total: Total, resamples: int = 2000, seed: int = 0) -> Score:
    """The metric over all rows with its 95 % percentile interval.

    `columns` is (rows, k); `total` turns sums (..., k) and the number of rows into values (...).
    """
    columns = np.asarray(columns, dtype=np.float64)
    drawn = _resampled(columns, total, resamples, seed)
    low, high = _percentiles(drawn)
    return Score(value=_value(columns, total), low=low, high=high)


def gain(
    candidate: Floats,
    reference: Floats,
    total: Total,
    higher_is_better: bool = True,
    resamples: int = 2000,
    seed: int = 0,
) -> Gain:
    """Candidate minus reference over the same rows in the same order (reference minus candidate if lower is better).

    Both are (rows, k). Each resample draws the same rows for both, so what is hard for both cancels out. The
    p-value is twice the smaller share of resamples on either side of zero, zero itself counting for both.
    """
    pair = np.stack([np.asarray(candidate, np.float64), np.asarray(reference, np.float64)])
    rows, width = pair.shape[1], pair.shape[2]
    sign = 1.0 if higher_is_better else -1.0

    def difference(sums: Floats, count: int) -> Floats:
        return sign * (total(sums[..., :width], count) - total(sums[..., width:], count))

    columns = np.concatenate([pair[0], pair[1]], axis=1)
    drawn = _resampled(columns, difference, resamples, seed)
    low, high = _percentiles(drawn)
    side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Gain(
        value=_value(columns, difference),
        low=low,
        high=high,
        p_value=min(1.0, 2 * (side + 1) / (resamples + 1)),
        detectable=DETECTABLE_STANDARD_ERRORS * float(drawn.std()),
        rows=rows,
    )


def _value(columns: Floats, total: Total) -> float:
    return float(total(columns.sum(axis=0), len(columns)))


def _resampled(columns: Floats, total: Total, resamples: int, seed: int) -> Floats:
    """The metric on each of `resamples` draws of all rows with replacement, in blocks that fit in memory."""
    rows = len(columns)
    if rows == 0:
        raise ValueError("a bootstrap needs at least one row")
    random = np.random.default_rng(seed)
    block = max(1, _CELLS // rows)
    parts: list[Any] = []
    for start in range(0, resamples, block):
        draws = random.multinomial(rows, np.full(rows, 1 / rows), size=min(block, resamples - start))
        parts.append(total(draws @ columns, rows))
    return np.concatenate(parts)


def _percentiles(drawn: Floats) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
