"""Two measurements side by side: each metric of the whole and of each slice, and the paired gain where rows are shared.

Knows nothing of where the scores come from.
"""

from __future__ import annotations

from collections.abc import Iterator

from posttrain.artifacts import Frozen
from posttrain.evaluation.metrics import METRICS
from posttrain.evaluation.scores import Gain, Score, Scores
from posttrain.gates import compare


class MetricPair(Frozen):
    """One metric of two models; `gain` is the second's over the first, None when they share no rows."""

    metric: str
    slice: str = ""
    first: Score | None
    second: Score | None
    gain: Gain | None

    @property
    def label(self) -> str:
        """slot_f1, or typos: slot_f1 of a slice."""
        return f"{self.slice}: {self.metric}" if self.slice else self.metric

    @property
    def verdict(self) -> str:
        """better or worse when the interval says so, else empty; small words for people, no gate."""
        if self.gain is None or self.gain.low <= 0 <= self.gain.high:
            return ""
        return "better" if self.gain.low > 0 else "worse"


def side_by_side(first: Scores, second: Scores, resamples: int = 2000, seed: int = 0) -> tuple[MetricPair, ...]:
    """Every metric that either has, the second's order first; slices after the whole."""
    return tuple(_pairs("", first, second, resamples, seed)) + tuple(
        pair
        for name, part in second.slices.items()
        if name in first.slices
        for pair in _pairs(name, first.slices[name], part, resamples, seed)
    )


def _pairs(part: str, first: Scores, second: Scores, resamples: int, seed: int) -> Iterator[MetricPair]:
    for metric in dict.fromkeys([*second.metrics, *first.metrics]):
        both = metric in first.metrics and metric in second.metrics and metric in METRICS
        gain = compare(second, first, metric, resamples, seed) if both else None
        ours, theirs = second.metrics.get(metric), first.metrics.get(metric)
        yield MetricPair(metric=metric, slice=part, first=theirs, second=ours, gain=gain)
