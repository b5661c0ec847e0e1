"""Gates: may this model go on? Each demand is checked against numbers, and the verdict carries all of them.

A comparison with another model is a paired bootstrap over the rows that both answered, read from the outputs that
measuring left behind; no model is loaded. A verdict is *passed* or *refused*; it never crashes a run. Knows nothing
of what happens next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from pydantic import Field

from posttrain.artifacts import DatasetRef, Frozen
from posttrain.errors import SpecError
from posttrain.evaluation.metrics import METRICS
from posttrain.evaluation.scores import Gain, Scores

# So that a gain of exactly the margin, 0.55 - 0.50 = 0.050000000000000044, is not over it.
ROUNDING = 1e-9


class GateLike(Protocol):
    """One entry of the spec's `gates` lists."""

    @property
    def metric(self) -> str: ...
    @property
    def at_least(self) -> float | None: ...
    @property
    def at_most(self) -> float | None: ...
    @property
    def above(self) -> str | None: ...
    @property
    def significant(self) -> bool: ...
    @property
    def not_worse_than(self) -> str | None: ...
    @property
    def margin(self) -> float: ...
    @property
    def relative(self) -> bool: ...


class Check(Frozen):
    """One demand, and how the candidate stands to it; gains are signed so that more is better."""

    metric: str
    value: float
    low: float
    high: float
    reference: str = Field(default="", description="baseline, previous or champion; empty for a fixed threshold")
    reference_value: float | None = Field(default=None, description="The reference's value over the rows both answered")
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    p_value: float | None = None
    detectable: float | None = Field(
        default=None, description="The smallest gain that so many rows would call significant"
    )
    requirement: str
    passed: bool
    reason: str


class Verdict(Frozen):
    """All checks of one gate; passed when every one of them is."""

    name: str
    passed: bool
    checks: tuple[Check, ...]
    summary: str


def judge(
    name: str,
    gates: Sequence[GateLike],
    candidate: Scores,
    references: Mapping[str, Scores | None],
    resamples: int = 2000,
    seed: int = 0,
) -> Verdict:
    """Check the candidate against every gate of a list (`name`: after_sft, after_align or release).

    `references` holds the scores of baseline, previous and champion on the same split, as far as there are any. A
    comparison with one that does not exist passes, and says so; one with a model that answered none of the
    candidate's rows is refused. Raises: SpecError when a gate's metric was not measured.
    """
    checks = tuple(
        check
        for place, gate in enumerate(gates)
        for check in _checks(f"gates.{name}[{place}]", gate, candidate, references, resamples, seed)
    )
    return Verdict(name=name, passed=all(check.passed for check in checks), checks=checks, summary=_summary(checks))


def compare(candidate: Scores, reference: Scores, metric: str, resamples: int = 2000, seed: int = 0) -> Gain | None:
    """The candidate's gain on one metric over the rows that both answered; None when there are no such rows."""
    paired = _paired(candidate, reference, metric)
    return None if paired is None else _gain(paired, metric, resamples, seed)


# --- checks ------------------------------------------------------------------------------------------------


def _checks(
    key: str, gate: GateLike, candidate: Scores, references: Mapping[str, Scores | None], resamples: int, seed: int
) -> Iterator[Check]:
    if gate.metric not in candidate.metrics:
        cure = "add data.general_held_out" if gate.metric == "perplexity" else f"use {', '.join(candidate.metrics)}"
        raise SpecError(f"{key}.metric: {gate.metric} was not measured on the {candidate.split} split; {cure}")
    if gate.at_least is not None:
        yield _threshold(gate.metric, candidate, gate.at_least, at_least=True)
    if gate.at_most is not None:
        yield _threshold(gate.metric, candidate, gate.at_most, at_least=False)
    for demand, reference in (("above", gate.above), ("not_worse_than", gate.not_worse_than)):
        if reference is not None:
            yield _comparison(gate, demand, reference, candidate, references.get(reference), resamples, seed)


def _threshold(metric: str, candidate: Scores, limit: float, at_least: bool) -> Check:
    score = candidate.metrics[metric]
    passed = score.value >= limit if at_least else score.value <= limit
    side = ("reaches" if passed else "is below") if at_least else ("stays within" if passed else "is over")
    return Check(
        metric=metric,
        value=score.value,
        low=score.low,
        high=score.high,
        requirement=f"{'≥' if at_least else '≤'} {limit:g}",
        passed=passed,
        reason=f"{metric} {score} {side} {limit:g}",
    )


def _comparison(
    gate: GateLike, demand: str, reference: str, candidate: Scores, other: Scores | None, resamples: int, seed: int
) -> Check:
    metric, score = gate.metric, candidate.metrics[gate.metric]
    base = Check(
        metric=metric,
        value=score.value,
        low=score.low,
        high=score.high,
        reference=reference,
        requirement=_requirement(gate, demand, reference),
        passed=True,
        reason=f"there is no {reference} to compare {metric} with yet",
    )
    if other is None or metric not in other.metrics:
        return base
    paired = _paired(candidate, other, metric)
    if paired is None:
        reason = f"the {reference} has no outputs for these rows; measure it on the {candidate.split} split"
        return base.model_copy(update={"passed": False, "reason": reason})
    gain = _gain(paired, metric, resamples, seed)
    reference_value = float(METRICS[metric].total(paired[1].sum(axis=0), len(paired[1])))
    margin = gate.margin * (abs(reference_value) if gate.relative else 1.0)
    passed, words = _stands(demand, gain, margin, gate.significant)
    size = f"gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], p = {gain.p_value:.3g}, {gain.rows} rows"
    return base.model_copy(
        update={
            "reference_value": reference_value,
            "gain": gain.value,
            "gain_low": gain.low,
            "gain_high": gain.high,
            "p_value": gain.p_value,
            "detectable": gain.detectable,
            "passed": passed,
            "reason": f"{metric} {score.value:.3f} {words} the {reference}'s {reference_value:.3f} ({size})",
        }
    )


def _stands(demand: str, gain: Gain, margin: float, significant: bool) -> tuple[bool, str]:
    """Whether the demand is met, and the verb between the candidate and its reference."""
    if demand == "not_worse_than":
        if gain.low >= -margin - ROUNDING:
            return True, f"is not worse by more than {margin:.3g} than"
        return False, f"may be worse by over {margin:.3g} than"
    if (gain.low if significant else gain.value) > margin + ROUNDING:
        return True, "is significantly better than" if significant else "is better than"
    if significant and gain.value > margin + ROUNDING:
        return False, f"is not surely better (so many rows show gains from {gain.detectable:.3f} up) than"
    return False, "is not better than"


def _requirement(gate: GateLike, demand: str, reference: str) -> str:
    margin = f"{gate.margin:.0%}" if gate.relative else f"{gate.margin:g}"
    if demand == "not_worse_than":
        return f"not worse than {reference}" + (f" by over {margin}" if gate.margin else "")
    by = f" by over {margin}" if gate.margin else ""
    return f"{'significantly ' if gate.significant else ''}above {reference}{by}"


def _summary(checks: Sequence[Check]) -> str:
    refused = [check for check in checks if not check.passed]
    if not checks:
        return "passed: the spec demands nothing here"
    if not refused:
        return f"passed: all {len(checks)} checks hold" if len(checks) > 1 else f"passed: {checks[0].reason}"
    return f"refused: {'; '.join(check.reason for check in refused)}"


# --- rows in common ----------------------------------------------------------------------------------------


def _gain(paired: tuple[Any, Any], metric: str, resamples: int, seed: int) -> Gain:
    from posttrain.evaluation import statistics

    entry = METRICS[metric]
    return statistics.gain(paired[0], paired[1], entry.total, entry.higher_is_better, resamples, seed)


def _paired(candidate: Scores, reference: Scores, metric: str) -> tuple[Any, Any] | None:
    """The metric's columns, (rows, k) each, over the ids that both have, in the candidate's order."""
    import numpy as np

    ours, theirs = (_columns(scores, metric) for scores in (candidate, reference))
    shared = [name for name in ours if name in theirs]
    if not shared:
        return None
    return np.array([ours[name] for name in shared]), np.array([theirs[name] for name in shared])


def _columns(scores: Scores, metric: str) -> dict[str, tuple[float, ...]]:
    """Row id → the metric's counts; empty when the outputs are gone or lack them."""
    import pyarrow as arrow
    from pyarrow import parquet

    rows: DatasetRef | None = scores.general if metric == "perplexity" else scores.outputs
    if rows is None:
        return {}
    names = list(METRICS[metric].columns)
    try:
        table = parquet.read_table(rows.uri, columns=["id", *names]).to_pydict()
        return dict(zip(table["id"], zip(*(table[name] for name in names), strict=True), strict=True))
    except (OSError, KeyError, arrow.ArrowInvalid):
        return {}
