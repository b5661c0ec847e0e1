"""Gates: may this model go on? Each demand is checked against numbers, and the verdict carries all of them.

A comparison with another model is paired over the rows that both answered, read from the outputs that measuring left
behind; no model is loaded. A check ends in one of three ways, and a verdict with it; it never crashes a run:

| outcome | the numbers say |
| --- | --- |
| passed | the demand is met |
| refused | it is not met |
| too_few_rows | it looks met, but so few rows cannot tell: it does not pass, and the check says how many rows could |

All demands of a gate must hold. Of several claims to be *significantly* better, p-values are corrected (Holm), so that
the chance of any false claim stays at 5 %. Knows nothing of what happens next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field

from posttrain.artifacts import DatasetRef, Frozen
from posttrain.errors import SpecError
from posttrain.evaluation.metrics import METRICS, Cells
from posttrain.evaluation.scores import Gain, Scores

Outcome = Literal["passed", "refused", "too_few_rows"]
Correction = Literal["holm", "none"]

ALPHA = 0.05
"""Of two-sided tests: a model no better than its reference passes as better in one of forty cases."""
ASKED = ("prompt", "expected")
"""Columns of outputs that say what was asked."""
MOST_ROWS = 1_000_000
"""Beyond so many, the number of rows that could tell is not worth saying."""

# So that a gain of exactly the margin, 0.55 - 0.50 = 0.050000000000000044, is not over it.
ROUNDING = 1e-9


class GateLike(Protocol):
    """One entry of the spec's `gates` lists."""

    @property
    def metric(self) -> str: ...
    @property
    def slice(self) -> str | None: ...
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
    slice: str = Field(default="", description="A name of evaluate.slices; empty: all rows")
    value: float
    low: float
    high: float
    reference: str = Field(default="", description="baseline, previous or champion; empty for a fixed threshold")
    reference_value: float | None = Field(default=None, description="The reference's value over the rows both answered")
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    p_value: float | None = Field(default=None, description="Two-sided, of no gain; corrected where claims are several")
    test: str = Field(default="", description="McNemar or permutation")
    detectable: float | None = Field(
        default=None, description="The smallest gain that so many rows would call significant"
    )
    rows_needed: int | None = Field(
        default=None, description="With too few rows: how many would tell, four times in five"
    )
    requirement: str
    outcome: Outcome
    reason: str

    @property
    def passed(self) -> bool:
        """Whether the demand is met, as far as the rows can tell."""
        return self.outcome == "passed"


class Verdict(Frozen):
    """All checks of one gate; passed when every one of them is."""

    name: str
    checks: tuple[Check, ...]
    summary: str

    @property
    def outcome(self) -> Outcome:
        """refused when a check is; else too_few_rows when one has too few to tell."""
        found = {check.outcome for check in self.checks}
        return "refused" if "refused" in found else "too_few_rows" if "too_few_rows" in found else "passed"

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.outcome == "passed"


def judge(
    name: str,
    gates: Sequence[GateLike],
    candidate: Scores,
    references: Mapping[str, Scores | None],
    resamples: int = 2000,
    seed: int = 0,
    correction: Correction = "holm",
) -> Verdict:
    """Check the candidate against every gate of a list (`name`: after_sft, after_align or release).

    `references` holds the scores of baseline, previous and champion on the same split, as far as there are any. A
    comparison with one that does not exist passes, and says so; one with a model that answered none of the
    candidate's rows is refused. Raises: SpecError when a gate's metric was not measured.
    """
    found = [
        draft
        for place, gate in enumerate(gates)
        for draft in _checks(f"gates.{name}[{place}]", gate, candidate, references, resamples, seed)
    ]
    claims = [draft for draft in found if isinstance(draft, _Claim)]
    p_values = [claim.gain.p_value for claim in claims]
    if correction == "holm" and claims:
        from posttrain.evaluation.statistics import holm

        p_values = holm(p_values)
    corrected = iter(p_values)
    checks = tuple(draft.settled(next(corrected)) if isinstance(draft, _Claim) else draft for draft in found)
    return Verdict(name=name, checks=checks, summary=_summary(checks))


def compare(candidate: Scores, reference: Scores, metric: str, resamples: int = 2000, seed: int = 0) -> Gain | None:
    """The candidate's gain on one metric over the rows that both answered; None when there are no such rows."""
    paired = _paired(candidate, reference, metric)
    return None if paired is None else _gain(paired, metric, resamples, seed)


# --- checks ------------------------------------------------------------------------------------------------


def _checks(
    key: str, gate: GateLike, candidate: Scores, references: Mapping[str, Scores | None], resamples: int, seed: int
) -> Iterator[Check | _Claim]:
    known = [who for who, scores in references.items() if scores is not None]
    if gate.slice is not None:
        candidate, references = _on_slice(key, gate.slice, candidate, references)
    if gate.metric not in candidate.metrics:
        cure = "add data.general_held_out" if gate.metric == "perplexity" else f"use {', '.join(candidate.metrics)}"
        raise SpecError(f"{key}.metric: {gate.metric} was not measured on the {candidate.split} split; {cure}")
    if gate.at_least is not None:
        yield _threshold(gate, candidate, gate.at_least, at_least=True)
    if gate.at_most is not None:
        yield _threshold(gate, candidate, gate.at_most, at_least=False)
    for demand, reference in (("above", gate.above), ("not_worse_than", gate.not_worse_than)):
        if reference is not None:
            other = references.get(reference)
            if other is not None and gate.metric in other.metrics:
                yield _comparison(gate, demand, reference, candidate, other, resamples, seed)
            else:
                yield _incomparable(gate, demand, reference, candidate, reference in known)


def _on_slice(
    key: str, name: str, candidate: Scores, references: Mapping[str, Scores | None]
) -> tuple[Scores, dict[str, Scores | None]]:
    """Candidate and references on one slice; a reference that was not measured on it counts as none."""
    if name not in candidate.slices:
        known = f"expected one of {', '.join(candidate.slices)}" if candidate.slices else "and none was measured"
        raise SpecError(f"{key}.slice: found {name!r}, {known}; correct the name or add it to evaluate.slices")
    theirs = {who: scores.slices.get(name) if scores else None for who, scores in references.items()}
    return candidate.slices[name], theirs


def _threshold(gate: GateLike, candidate: Scores, limit: float, at_least: bool) -> Check:
    metric, score = gate.metric, candidate.metrics[gate.metric]
    passed = score.value >= limit if at_least else score.value <= limit
    side = ("reaches" if passed else "is below") if at_least else ("stays within" if passed else "is over")
    return Check(
        metric=metric,
        slice=gate.slice or "",
        value=score.value,
        low=score.low,
        high=score.high,
        requirement=f"{'≥' if at_least else '≤'} {limit:g}",
        outcome="passed" if passed else "refused",
        reason=f"{_on(gate)}{metric} {score} {side} {limit:g}",
    )


def _incomparable(gate: GateLike, demand: str, reference: str, candidate: Scores, is_known: bool) -> Check:
    """A demand on a model that is not there yet, or that was measured before anyone asked for this metric."""
    where = f" on {gate.slice}" if gate.slice else ""
    lacking = f"the {reference} was not measured{where}, so {gate.metric} has nothing to compare with yet"
    reason = lacking if is_known else f"{_on(gate)}there is no {reference} to compare {gate.metric} with yet"
    return _unsettled(gate, demand, reference, candidate, reason)


def _unsettled(gate: GateLike, demand: str, reference: str, candidate: Scores, reason: str) -> Check:
    """A passed check of a comparison before any gain is known."""
    score = candidate.metrics[gate.metric]
    return Check(
        metric=gate.metric,
        slice=gate.slice or "",
        value=score.value,
        low=score.low,
        high=score.high,
        reference=reference,
        requirement=_requirement(gate, demand, reference),
        outcome="passed",
        reason=reason,
    )


def _comparison(
    gate: GateLike, demand: str, reference: str, candidate: Scores, other: Scores, resamples: int, seed: int
) -> Check | _Claim:
    metric = gate.metric
    base = _unsettled(gate, demand, reference, candidate, "")
    paired = _paired(candidate, other, metric)
    if paired is None:
        reason = f"{_on(gate)}the {reference} has no outputs for these rows; measure it on the {candidate.split} split"
        return base.model_copy(update={"outcome": "refused", "reason": reason})
    gain = _gain(paired, metric, resamples, seed)
    reference_value = float(METRICS[metric].total(paired[1].sum(axis=0), len(paired[1])))
    margin = gate.margin * (abs(reference_value) if gate.relative else 1.0)
    base = base.model_copy(
        update={
            "reference_value": reference_value,
            "gain": gain.value,
            "gain_low": gain.low,
            "gain_high": gain.high,
            "p_value": gain.p_value,
            "test": gain.test,
            "detectable": gain.detectable,
        }
    )
    if demand == "above" and gate.significant:
        return _Claim(base, gain, margin)
    outcome, words = _no_worse(gain, margin) if demand == "not_worse_than" else _above(gain, margin)
    return _worded(base, gain, outcome, words, margin=-margin)


@dataclass(frozen=True)
class _Claim:
    """A claim to be significantly better, which waits for the p-values of the others."""

    check: Check
    gain: Gain
    margin: float

    def settled(self, p_value: float) -> Check:
        """The check, by its corrected p-value."""
        outcome: Outcome = "refused"
        words = "is not better than"
        if self.gain.value > self.margin + ROUNDING:
            sure = self.gain.low > self.margin + ROUNDING and p_value <= ALPHA
            outcome = "passed" if sure else "too_few_rows"
            words = "is significantly better than" if sure else "is not surely better than"
        gain = self.gain.model_copy(update={"p_value": p_value})
        return _worded(self.check.model_copy(update={"p_value": p_value}), gain, outcome, words, self.margin)


def _above(gain: Gain, margin: float) -> tuple[Outcome, str]:
    better = gain.value > margin + ROUNDING
    return ("passed", "is better than") if better else ("refused", "is not better than")


def _no_worse(gain: Gain, margin: float) -> tuple[Outcome, str]:
    if gain.low >= -margin - ROUNDING:
        return "passed", f"is not worse by more than {margin:.3g} than"
    outcome: Outcome = "refused" if gain.value < -margin - ROUNDING else "too_few_rows"
    return outcome, f"may be worse by over {margin:.3g} than"


def _on(demand: GateLike | Check) -> str:
    return f"on {demand.slice}: " if demand.slice else ""


def _worded(check: Check, gain: Gain, outcome: Outcome, words: str, margin: float) -> Check:
    """The check with its outcome and the reason in words; `margin` is what the gain had to be over."""
    needed = gain.rows_needed(margin) if outcome == "too_few_rows" else None
    test = f", {gain.test}" if gain.test else ""
    size = (
        f"gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], p = {gain.p_value:.3g}{test}, {gain.rows:,} rows"
    )
    other = f"the {check.reference}'s {check.reference_value:.3f}"
    reason = f"{_on(check)}{check.metric} {check.value:.3f} {words} {other} ({size})"
    if outcome == "too_few_rows":
        many = f"some {needed:,}" if needed is not None and needed <= MOST_ROWS else f"over {MOST_ROWS:,}"
        reason += f", which show gains from {gain.detectable:.3f} up; {many} would tell"
    return check.model_copy(update={"outcome": outcome, "rows_needed": needed, "reason": reason})


def _requirement(gate: GateLike, demand: str, reference: str) -> str:
    margin = f"{gate.margin:.0%}" if gate.relative else f"{gate.margin:g}"
    if demand == "not_worse_than":
        return f"not worse than {reference}" + (f" by over {margin}" if gate.margin else "")
    by = f" by over {margin}" if gate.margin else ""
    return f"{'significantly ' if gate.significant else ''}above {reference}{by}"


def _summary(checks: Sequence[Check]) -> str:
    failing = [check for check in checks if not check.passed]
    if not checks:
        return "passed: the spec demands nothing here"
    if not failing:
        return f"passed: all {len(checks)} checks hold" if len(checks) > 1 else f"passed: {checks[0].reason}"
    verb = "refused" if any(check.outcome == "refused" for check in failing) else "too few rows to tell"
    return f"{verb}: {'; '.join(check.reason for check in failing)}"


# --- rows in common ----------------------------------------------------------------------------------------


def _gain(paired: tuple[Any, Any], metric: str, resamples: int, seed: int) -> Gain:
    from posttrain.evaluation import statistics

    entry = METRICS[metric]
    return statistics.gain(paired[0], paired[1], entry.total, entry.higher_is_better, resamples, seed)


def _paired(candidate: Scores, reference: Scores, metric: str) -> tuple[Any, Any] | None:
    """The metric's columns, (rows, k) each, over the rows that both answered, in the candidate's order."""
    ours, theirs = (_outputs(scores, metric) for scores in (candidate, reference))
    by_words = all(name in side for name in ASKED for side in (ours, theirs))
    left, right = (_columns(side, metric, by_words) for side in (ours, theirs))
    shared = [row for row in left if row in right]
    if not shared:
        return None
    one, other = METRICS[metric].matrices([[side[row] for row in shared] for side in (left, right)])
    return one, other


def _columns(outputs: Mapping[str, list[Any]], metric: str, by_words: bool) -> dict[tuple[Any, ...], Cells]:
    """Row → the metric's counts. A row is what was asked, `by_words`: its id says where it stood in a file, and the
    file of the other model's time may have had another row there. Of equal rows the first is one, the second another.
    """
    if not outputs:
        return {}
    rows = zip(*(outputs[name] for name in (ASKED if by_words else ("id",))), strict=True)
    cells = zip(*(outputs[name] for name in METRICS[metric].columns), strict=True)
    seen: Counter[tuple[Any, ...]] = Counter()
    found = {}
    for row, counts in zip(rows, cells, strict=True):
        found[*row, seen[row]] = counts
        seen[row] += 1
    return found


def _outputs(scores: Scores, metric: str) -> dict[str, list[Any]]:
    """What was asked and the metric's counts, column by column; empty when the outputs are gone or lack the counts."""
    import pyarrow as arrow
    from pyarrow import parquet

    rows: DatasetRef | None = scores.general if metric == "perplexity" else scores.outputs
    if rows is None:
        return {}
    wanted = METRICS[metric].columns
    try:
        known = parquet.read_schema(rows.uri).names
        table: dict[str, list[Any]] = parquet.read_table(
            rows.uri, columns=[name for name in ("id", *ASKED, *wanted) if name in known]
        ).to_pydict()
    except (OSError, arrow.ArrowInvalid):
        return {}
    return table if all(name in table for name in ("id", *wanted)) else {}
