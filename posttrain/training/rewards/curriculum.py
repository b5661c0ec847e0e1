"""Did a signal that joined later hurt those before it? (S3: one signal first, then one at a time, each tested.)

For each addition and each signal before it, the logged means of the last updates before are compared with those of
the last updates before the next addition, or the end: by then the policy has answered to the change. Pure; knows no
trainer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pydantic import Field

from posttrain.artifacts import Frozen
from posttrain.spec.sections.rewards import RewardTerm
from posttrain.training.result import CurvePoint
from posttrain.training.rewards.mixture import start

WINDOW = 20
"""Logged updates on either side; more would reach back into what the policy was long before."""
FEWEST = 4
"""Fewer logged updates on a side say nothing of their spread."""
LEVEL = 0.95


class Addition(Frozen):
    """What became of one signal when another joined."""

    added: str
    step: int = Field(description="The update from which on the added signal counted.")
    signal: str = Field(description="A signal that counted before.")
    before: float | None = Field(None, description="Its mean over the window before.")
    after: float | None = Field(None, description="Its mean over the window after.")
    low: float | None = Field(None, description="Lower end of the 95 % interval of after - before.")
    high: float | None = Field(None, description="Its upper end.")
    outcome: Literal["held", "hurt", "cannot tell"]
    reason: str


def additions(
    curve: Sequence[CurvePoint], terms: Sequence[RewardTerm], steps: int, tolerance: float = 0.05
) -> tuple[Addition, ...]:
    """For every signal that joined later and every one before it, whether that one held.

    `curve` has `rewards/<name>/mean` of every signal. *held*: the whole interval of the change lies above -`tolerance`;
    else *hurt*: it lies below 0; else it cannot be told. Signals that join together are one addition.
    """
    starts = {term.name: start(term, steps) for term in terms}
    joins = sorted({begin for begin in starts.values() if 0 < begin < steps})
    found = []
    for place, join in enumerate(joins):
        until = joins[place + 1] if place + 1 < len(joins) else steps + 1
        added = " and ".join(name for name, begin in starts.items() if begin == join)
        for name in (name for name, begin in starts.items() if begin < join):
            series = [(point.step, point.metrics.get(f"rewards/{name}/mean")) for point in curve]
            known = [(step, value) for step, value in series if value is not None and math.isfinite(value)]
            # A point of the curve tells of updates up to its step, and update `join` is the first with the addition.
            before = [value for step, value in known if step <= join][-WINDOW:]
            after = [value for step, value in known if join < step <= until][-WINDOW:]
            found.append(_judged(added, join, name, before, after, tolerance))
    return tuple(found)


def _judged(
    added: str, step: int, name: str, before: Sequence[float], after: Sequence[float], tolerance: float
) -> Addition:
    if min(len(before), len(after)) < FEWEST:
        reason = f"{name}: {len(before)} and {len(after)} logged updates, fewer than {FEWEST} on a side"
        return Addition(added=added, step=step, signal=name, outcome="cannot tell", reason=reason)
    change, low, high = change_of(before, after)
    outcome: Literal["held", "hurt", "cannot tell"] = "cannot tell"
    outcome = "held" if low >= -tolerance else "hurt" if high < 0 else outcome
    words = {"held": "held", "hurt": "fell", "cannot tell": "may have fallen"}[outcome]
    return Addition(
        added=added,
        step=step,
        signal=name,
        before=_mean(before),
        after=_mean(after),
        low=low,
        high=high,
        outcome=outcome,
        reason=f"{name} {words} when {added} joined: {change:+.3f} [{low:+.3f}, {high:+.3f}]",
    )


def change_of(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """(after - before, low, high) of two stretches of a curve: Welch's interval for the difference of means.

    Neighbouring updates are alike, so each side counts for n (1 - r) / (1 + r) independent ones, r being the
    correlation of neighbours where it is positive; at least two.
    """
    from scipy import stats

    sides = [(_mean(side), _variance(side), _independent(side)) for side in (before, after)]
    errors = [variance / count for _, variance, count in sides]
    change, error = sides[1][0] - sides[0][0], math.sqrt(sum(errors))
    if error == 0:
        return change, change, change
    freedom = sum(errors) ** 2 / sum(e**2 / (count - 1) for e, (_, _, count) in zip(errors, sides, strict=True))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return change, change - reach, change + reach


def _independent(values: Sequence[float]) -> float:
    mean, total = _mean(values), math.fsum((value - _mean(values)) ** 2 for value in values)
    if total == 0:
        return float(len(values))
    pairs = pairwise(values)
    alike = max(0.0, math.fsum((one - mean) * (other - mean) for one, other in pairs) / total)
    return max(2.0, len(values) * (1 - alike) / (1 + alike))


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
