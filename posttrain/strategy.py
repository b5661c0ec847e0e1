"""Which rung of the ladder comes next: prompt, few-shot, SFT, DPO (S0). The flowchart, executed by measurement.

`decide` is pure: evidence in, the next step out, with reasons in words. Nothing else in Posttrain decides. Knows
nothing of files, models or flows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from posttrain.artifacts import Frozen
from posttrain.evaluation.metrics import MAIN, METRICS
from posttrain.evaluation.scores import Gain, Scores
from posttrain.gates import Verdict

if TYPE_CHECKING:
    from posttrain.spec import PipelineSpec

Step = Literal["baseline", "after_sft"]
Action = Literal["use_prompt", "use_few_shot", "collect_data", "sft", "align", "release", "rethink"]

# Ours, not S0's: an output format counts as known from here, and a target as within reach from half of it.
FORMAT_KNOWN = 0.90
WITHIN_REACH = 0.5

MISSING = {
    "intent_accuracy": "it does not know the labels",
    "slot_f1": "it does not draw the right values out of the text",
    "field_f1": "it does not draw the right values out of the text",
    "exact_match": "few answers are right in full",
    "token_f1": "its wording is far from what is wanted",
    "valid_json": "the output format is not fixed",
    "wrapper_consistency": "the same prompt comes back in differing wrappers",
    "perplexity": "it has lost general ability",
}


class Evidence(Frozen):
    """All that a decision rests on; `gain` compares the trained model with the better baseline on the main metric."""

    step: Step
    kind: str
    targets: dict[str, float]
    usable_rows: int = Field(description="Training rows left after validation and curation")
    min_rows: int = 200
    align: Literal["auto", "always", "never"] = "auto"
    zero_shot: Scores
    few_shot: Scores | None = None
    after_sft: Scores | None = None
    gain: Gain | None = Field(
        default=None, description="after_sft minus baseline; without it intervals must not overlap"
    )
    verdict: Verdict | None = Field(default=None, description="The gate after SFT")

    @classmethod
    def of_baseline(cls, spec: PipelineSpec, usable_rows: int, zero_shot: Scores, few_shot: Scores | None) -> Evidence:
        """What is known before anything is trained."""
        return cls(
            step="baseline",
            kind=spec.task.kind,
            targets=dict(spec.strategy.targets),
            usable_rows=usable_rows,
            min_rows=spec.strategy.min_rows,
            align=spec.strategy.align,
            zero_shot=zero_shot,
            few_shot=few_shot,
        )

    def with_sft(self, scores: Scores, gain: Gain | None, verdict: Verdict) -> Evidence:
        """The same, and what was measured after SFT."""
        return self.model_copy(update={"step": "after_sft", "after_sft": scores, "gain": gain, "verdict": verdict})


class Decision(Frozen):
    """The next step, why, and the numbers behind it."""

    step: Step
    action: Action
    reasons: tuple[str, ...]
    evidence: dict[str, float | str | int]


def decide(evidence: Evidence) -> Decision:
    """The next rung of the ladder.

    Raises: ValueError when the step is after_sft and there are no scores of the trained model.
    """
    action, reasons = _baseline(evidence) if evidence.step == "baseline" else _after_sft(evidence)
    return Decision(step=evidence.step, action=action, reasons=tuple(reasons), evidence=_numbers(evidence))


# --- step 1 and 2: is the prompt enough, and is there data to train on? -------------------------------------


def _baseline(evidence: Evidence) -> tuple[Action, list[str]]:
    targets = evidence.targets
    if targets and not list(_shortfalls(evidence.zero_shot, targets)):
        return "use_prompt", [f"the prompt alone meets every target: {_standing(evidence.zero_shot, targets)}"]
    reasons = _why_not(evidence.zero_shot, targets, "the prompt alone")
    if targets and evidence.few_shot and not list(_shortfalls(evidence.few_shot, targets)):
        met = f"worked examples in the prompt meet every target: {_standing(evidence.few_shot, targets)}"
        return "use_few_shot", [*reasons, met]
    if evidence.few_shot:
        reasons += _why_not(evidence.few_shot, targets, "few-shot")
    if evidence.usable_rows < evidence.min_rows:
        few = f"only {evidence.usable_rows} usable rows, strategy.min_rows asks for {evidence.min_rows}"
        return "collect_data", [*reasons, f"{few}: collect more data; until then {_meanwhile(evidence)}"]
    if not targets:
        reasons.append("the spec sets no targets, so no prompt counts as good enough")
    reasons.append(f"a new pattern must be learned, and {evidence.usable_rows} usable rows are enough to train on")
    return "sft", reasons


def _meanwhile(evidence: Evidence) -> str:
    """Which prompting to live with while data is collected."""
    metric = MAIN[evidence.kind]
    best = best_baseline(evidence.zero_shot, evidence.few_shot, evidence.kind)
    score = best.metrics.get(metric)
    return f"use the {best.prompting} prompt" + (f" ({metric} {score})" if score else "")


# --- step 3: is the trained model good enough, and if not, can it be optimised further? ---------------------


def _after_sft(evidence: Evidence) -> tuple[Action, list[str]]:
    scores = evidence.after_sft
    if scores is None:
        raise ValueError("evidence for after_sft lacks the trained model's scores")
    missed = list(_shortfalls(scores, evidence.targets))
    refused = [c.reason for c in evidence.verdict.checks if not c.passed] if evidence.verdict else []
    reasons = _why_not(scores, evidence.targets, "after SFT") + [f"the gate refused: {reason}" for reason in refused]
    if not missed and not refused:
        met = "every target is met" if evidence.targets else "the spec sets no targets to miss"
        reasons.append(f"after SFT {met}: {_standing(scores, evidence.targets or scores.metrics)}")
        if evidence.align == "always":
            return "align", [*reasons, "strategy.align is always: outputs are aligned to preferences all the same"]
        return "release", reasons
    if evidence.align == "never":
        return "rethink", [*reasons, "strategy.align is never, so DPO may not close the gap", _advice(evidence, scores)]
    if evidence.align == "always":
        return "align", [*reasons, "strategy.align is always"]
    able, why = _is_able(evidence, scores)
    reasons += why
    if not able:
        return "rethink", [*reasons, _advice(evidence, scores)]
    return "align", [*reasons, "the ability is there but not good enough: align it by preference (DPO)"]


def _is_able(evidence: Evidence, scores: Scores) -> tuple[bool, list[str]]:
    """Whether the model knows the task and could be optimised further; every condition in words."""
    metric = MAIN[evidence.kind]
    conditions = [_beats_baseline(evidence, scores, metric)]
    if (valid := scores.metrics.get("valid_json")) is not None:
        known = valid.value >= FORMAT_KNOWN
        conditions.append((known, f"the output format is {'' if known else 'not '}known (valid_json {valid})"))
    target, score = evidence.targets.get(metric), scores.metrics.get(metric)
    if target is not None and score is not None:
        near = score.value >= WITHIN_REACH * target
        words = "within reach of" if near else "too far below"
        conditions.append((near, f"{metric} {score} is {words} its target {target:g}"))
    lost = [name for name, _, _ in _shortfalls(scores, evidence.targets) if name == "perplexity"]
    if lost or _refused_for_forgetting(evidence.verdict):
        conditions.append((False, "general ability was lost, which preferences do not bring back"))
    return all(holds for holds, _ in conditions), [words for _, words in conditions]


def _beats_baseline(evidence: Evidence, scores: Scores, metric: str) -> tuple[bool, str]:
    gain = evidence.gain
    if gain is not None:
        beats = gain.low > 0
        size = f"{metric} gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], p = {gain.p_value:.3g}"
    else:
        before, after = (
            best_baseline(evidence.zero_shot, evidence.few_shot, evidence.kind).metrics.get(metric),
            scores.metrics.get(metric),
        )
        if before is None or after is None:
            return False, f"{metric} was not measured before and after SFT"
        beats, size = (after.low > before.high, f"{metric} {before} before, {after} after")
    words = "significantly better than the baseline" if beats else "not surely better than the baseline"
    return beats, f"SFT made the model {words} ({size})"


def _refused_for_forgetting(verdict: Verdict | None) -> bool:
    return verdict is not None and any(c.metric == "perplexity" and not c.passed for c in verdict.checks)


def _advice(evidence: Evidence, scores: Scores) -> str:
    """What a person should look at first, from what is furthest from good."""
    lost = any(name == "perplexity" for name, _, _ in _shortfalls(scores, evidence.targets))
    if lost or _refused_for_forgetting(evidence.verdict):
        return "mix in more general rows (curate.general_share), lower sft.learning_rate or train fewer epochs"
    valid, label = (scores.metrics.get("valid_json"), scores.metrics.get("intent_accuracy"))
    if valid is not None and valid.value < FORMAT_KNOWN:
        return "simplify the output format, or raise evaluate.max_new_tokens if answers are cut off"
    if label is not None and label.value < FORMAT_KNOWN:
        return "look for labels that overlap or are used inconsistently, and define them apart"
    return "rethink the task definition: look at the wrong outputs, add rows like them, or take a larger base.model"


# --- words and numbers -------------------------------------------------------------------------------------


def _shortfalls(scores: Scores, targets: Mapping[str, float]) -> Iterator[tuple[str, float, str]]:
    """(metric, target, score in words) of every target that is missed; an unmeasured metric misses its target."""
    for name, target in targets.items():
        score = scores.metrics.get(name)
        if score is None:
            yield name, target, "not measured"
        elif (score.value < target) if METRICS[name].higher_is_better else (score.value > target):
            yield name, target, str(score)


def _why_not(scores: Scores, targets: Mapping[str, float], who: str) -> list[str]:
    return [
        f"{who}: {name} {words} misses the target {target:g}: {MISSING.get(name, 'it is not good enough')}"
        for name, target, words in _shortfalls(scores, targets)
    ]


def _standing(scores: Scores, wanted: Mapping[str, object]) -> str:
    parts = []
    for name in wanted:
        goal = wanted[name]
        mark = "≥" if METRICS[name].higher_is_better else "≤"
        parts.append(f"{name} {scores.metrics[name]}" + (f" {mark} {goal:g}" if isinstance(goal, int | float) else ""))
    return ", ".join(parts)


def _numbers(evidence: Evidence) -> dict[str, float | str | int]:
    """The evidence as flat columns, for tables and for tags."""
    found: dict[str, float | str | int] = {
        "usable_rows": evidence.usable_rows,
        "min_rows": evidence.min_rows,
        "align": evidence.align,
    }
    found |= {f"target/{name}": target for name, target in evidence.targets.items()}
    measured = {"zero_shot": evidence.zero_shot, "few_shot": evidence.few_shot, "after_sft": evidence.after_sft}
    for who, scores in measured.items():
        if scores is not None:
            found |= {f"{who}/{name}": round(score.value, 4) for name, score in scores.metrics.items()}
    if evidence.gain is not None:
        found |= {"gain": round(evidence.gain.value, 4), "gain_low": round(evidence.gain.low, 4)}
        found |= {"gain_p_value": evidence.gain.p_value}
    if evidence.verdict is not None:
        found["gate"] = "passed" if evidence.verdict.passed else "refused"
    return found


def best_baseline(zero_shot: Scores, few_shot: Scores | None, kind: str) -> Scores:
    """The baseline that a trained model has to beat: the better prompting on the kind's main metric."""
    metric = MAIN[kind]
    if few_shot is None or metric not in few_shot.metrics or metric not in zero_shot.metrics:
        return zero_shot
    return max(zero_shot, few_shot, key=lambda scores: scores.metrics[metric].value)
