"""How sure a score or a gain is: the paired bootstrap, McNemar's test, permutations, and Holm's correction.

Every metric is a function of *sums over rows* (hits and rows, or true and false positives), so resampling rows is
one matrix product: draws (resamples, rows) times columns (rows, k). Knows nothing of what the columns mean.

| question | answer |
| --- | --- |
| how far may a score or a gain be off? | percentile interval of the (paired) bootstrap |
| can equal models explain the gain? rows right or wrong | McNemar's test, exact |
| the same, of any other metric | permutation test: the two models' rows change sides by chance |
| several claims at once | Holm's step-down correction |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posttrain.evaluation.scores import FEWEST_WON, Gain, Score

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

    Both are (rows, k). Each resample draws the same rows for both, so what is hard for both cancels out. `resamples`
    are those of the bootstrap and, at most, of the permutation test; `paired_test` says which test gives the p-value.
    """
    pair = np.stack([np.asarray(candidate, np.float64), np.asarray(reference, np.float64)])
    rows, width = pair.shape[1], pair.shape[2]
    sign = 1.0 if higher_is_better else -1.0
    test, p_value = paired_test(pair[0], pair[1], total, resamples, seed)

    def difference(sums: Floats, count: int) -> Floats:
        return sign * (total(sums[..., :width], count) - total(sums[..., width:], count))

    columns = np.concatenate([pair[0], pair[1]], axis=1)
    drawn = _resampled(columns, difference, resamples, seed)
    low, high = _percentiles(drawn)
    return Gain(
        value=_value(columns, difference),
        low=low,
        high=high,
        p_value=p_value,
        detectable=max(
            DETECTABLE_STANDARD_ERRORS * float(drawn.std()), FEWEST_WON / rows if test == "McNemar" else 0.0
        ),
        rows=rows,
        test=test,
    )


def paired_test(
    candidate: Floats, reference: Floats, total: Total, resamples: int = 2000, seed: int = 0
) -> tuple[str, float]:
    """(name, two-sided p-value) of the test that fits: McNemar's where each row is right or wrong, else permutation."""
    columns = np.stack([candidate, reference])
    if columns.shape[2] == 1 and np.isin(columns, (0.0, 1.0)).all() and _is_mean(total):
        return "McNemar", mcnemar(candidate[:, 0], reference[:, 0])
    return "permutation", permutation(candidate, reference, total, resamples, seed)


def _is_mean(total: Total) -> bool:
    """Whether a metric of one column is its mean; asked of the function itself, for metrics are the caller's."""
    return bool(np.allclose(total(np.array([[1.0], [3.0]]), 4), [0.25, 0.75]))


def mcnemar(candidate: Floats, reference: Floats) -> float:
    """Two-sided p-value of McNemar's exact test: of rows that only one model gets right, each is a fair coin's toss."""
    from scipy import stats

    only_candidate = int(((candidate == 1) & (reference == 0)).sum())
    only_reference = int(((candidate == 0) & (reference == 1)).sum())
    if not only_candidate + only_reference:
        return 1.0
    return float(stats.binomtest(only_candidate, only_candidate + only_reference, 0.5).pvalue)


def permutation(candidate: Floats, reference: Floats, total: Total, resamples: int = 2000, seed: int = 0) -> float:
    """Two-sided p-value: how often the gain is as large when each row's two answers change sides by chance.

    With few rows (2 ** rows <= resamples) every exchange is tried, and the p-value is exact.
    """
    from scipy import stats

    columns = np.concatenate([candidate, reference])
    rows = len(candidate)

    def gain_of(ours: Floats, theirs: Floats, axis: int = -1) -> Floats:
        sums = (columns[side.astype(np.int64)].sum(axis=-2) for side in (ours, theirs))
        mine, yours = (total(found, rows) for found in sums)
        return np.asarray(mine - yours)

    places = np.arange(2 * rows)
    found = stats.permutation_test(
        (places[:rows], places[rows:]),
        gain_of,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _CELLS // (rows * columns.shape[1])),
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    return float(min(1.0, found.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values: with all of them at 5 %, the chance of any false claim among them is at most
    5 %, however the claims hang together."""
    count, worst = len(p_values), 0.0
    adjusted = [0.0] * count
    for rank, place in enumerate(sorted(range(count), key=lambda place: p_values[place])):
        worst = max(worst, min(1.0, (count - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted


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
