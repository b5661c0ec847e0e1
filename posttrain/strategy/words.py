"""Evidence in words and numbers: which targets are missed and by what, and the evidence as flat columns.

Knows no decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from posttrain.evaluation.metrics import METRICS
from posttrain.evaluation.scores import Score, Scores
from posttrain.strategy.evidence import Evidence

MISSING = {
    "intent_accuracy": "it does not know the labels",
    "slot_f1": "it does not draw the right values out of the text",
    "field_f1": "it does not draw the right values out of the text",
    "exact_match": "few answers are right in full",
    "field_precision": "it gives values that are not wanted",
    "field_recall": "it leaves values out",
    "grounded": "it invents values",
    "schema_valid": "the output does not follow the schema",
    "style_consistency": "the same fields come back in differing shapes",
    "accuracy": "it does not know the labels",
    "macro_f1": "it does not know the labels",
    "final_answer": "its final answers are wrong",
    "token_f1": "its wording is far from what is wanted",
    "rouge_l": "its wording is far from what is wanted",
    "chrf": "its wording is far from what is wanted",
    "semantic_similarity": "its meaning is far from what is wanted",
    "valid_json": "the output format is not fixed",
    "wrapper_consistency": "the same prompt comes back in differing wrappers",
    "perplexity": "it has lost general ability",
}


def higher_is_better(metric: str) -> bool:
    """As the table of metrics says; of one that it does not know (a user's own), yes."""
    entry = METRICS.get(metric)
    return entry is None or entry.higher_is_better


def misses(metric: str, score: Score, target: float) -> bool:
    """Whether the value, as measured, is on the wrong side of the target."""
    return score.value < target if higher_is_better(metric) else score.value > target


def surely_misses(metric: str, score: Score, target: float) -> bool:
    """Whether all of the 95 % interval is on the wrong side."""
    return score.high < target if higher_is_better(metric) else score.low > target


def shortfalls(scores: Scores, targets: Mapping[str, float]) -> Iterator[tuple[str, float, str]]:
    """(metric, target, score in words) of every target that is missed; an unmeasured metric misses its target."""
    for name, target in targets.items():
        score = scores.metrics.get(name)
        if score is None:
            yield name, target, "not measured"
        elif misses(name, score, target):
            yield name, target, str(score)


def meets_all(scores: Scores | None, targets: Mapping[str, float]) -> bool:
    """Whether there are targets and every one of them is met."""
    return scores is not None and bool(targets) and not any(shortfalls(scores, targets))


def why_not(scores: Scores, targets: Mapping[str, float], who: str) -> list[str]:
    """A line for each target that is missed."""
    return [
        f"{who}: {name} {words} misses the target {target:g}: {MISSING.get(name, 'it is not good enough')}"
        for name, target, words in shortfalls(scores, targets)
    ]


def standing(scores: Scores, wanted: Mapping[str, object]) -> str:
    """The scores of the wanted metrics, each with its target."""
    parts = []
    for name in wanted:
        goal = wanted[name]
        mark = "≥" if higher_is_better(name) else "≤"
        parts.append(f"{name} {scores.metrics[name]}" + (f" {mark} {goal:g}" if isinstance(goal, int | float) else ""))
    return ", ".join(parts)


def numbers(evidence: Evidence) -> dict[str, float | str | int]:
    """The evidence as flat columns, for tables and for tags."""
    found: dict[str, float | str | int] = {
        "usable_rows": evidence.usable_rows,
        "min_rows": evidence.min_rows,
        "align": evidence.align,
    }
    found |= {f"target/{name}": target for name, target in evidence.targets.items()}
    measured = {
        "zero_shot": evidence.zero_shot,
        "few_shot": evidence.few_shot,
        "step_by_step": evidence.step_by_step,
        "self_consistency": evidence.self_consistency,
        "after_sft": evidence.after_sft,
    }
    for who, scores in measured.items():
        if scores is not None:
            found |= {f"{who}/{name}": round(score.value, 4) for name, score in scores.metrics.items()}
    if evidence.after_sft is not None:
        for part, scores in evidence.after_sft.slices.items():
            found |= {f"after_sft/{part}/{name}": round(score.value, 4) for name, score in scores.metrics.items()}
    if evidence.gain is not None:
        found |= {"gain": round(evidence.gain.value, 4), "gain_low": round(evidence.gain.low, 4)}
        found |= {"gain_p_value": evidence.gain.p_value}
    if evidence.verdict is not None:
        found["gate"] = evidence.verdict.outcome
    if evidence.align_method != "dpo":
        found["align_method"] = evidence.align_method
    return found | _circumstances(evidence)


def _circumstances(evidence: Evidence) -> dict[str, float | str | int]:
    found: dict[str, float | str | int] = {}
    if evidence.zero_shot.decoding:
        found["decoding"] = evidence.zero_shot.decoding
    if evidence.preferences is not None:
        found["preferences"] = evidence.preferences
    if evidence.quality is not None:
        found["bad_share"] = round(evidence.quality.bad_share, 4)
    found |= {f"minutes/{rung}": round(seconds / 60, 1) for rung, seconds in evidence.seconds.items()}
    if evidence.rows_needed is not None:
        found["learning_curve"] = evidence.rows_needed.answer
        if evidence.rows_needed.rows is not None:
            found["rows_needed"] = evidence.rows_needed.rows
    return found
