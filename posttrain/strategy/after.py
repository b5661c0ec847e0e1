"""The second half of the flowchart: is the trained model good enough, and if not, can it be optimised further?"""

from __future__ import annotations

from posttrain.evaluation.scores import Scores
from posttrain.strategy.conditions import (
    FORMAT_KNOWN,
    NOBODY_PREFERS,
    cannot_be_ranked,
    forgot,
    knows_the_task,
    lagging,
)
from posttrain.strategy.decision import Action, Alternative, Decision
from posttrain.strategy.evidence import Evidence
from posttrain.strategy.spending import in_words, minutes, money, too_dear
from posttrain.strategy.walk import Walk
from posttrain.strategy.words import shortfalls, standing, why_not


def after_training(evidence: Evidence) -> Decision:
    """The leaf for a model after SFT. Raises: ValueError when its scores are not there."""
    scores = evidence.after_sft
    if scores is None:
        raise ValueError("evidence for after_sft lacks the trained model's scores")
    walk = Walk(evidence)
    missed = why_not(scores, evidence.targets, "after SFT")
    walk.reasons += missed
    met = "every target is met" if evidence.targets else "the spec sets no targets to miss"
    good = walk.ask("Is the target met after SFT?", not missed, *(missed or [met]))
    refused = _gate(walk)
    if good and not refused:
        walk.reasons.append(f"after SFT {met}: {standing(scores, evidence.targets or scores.metrics)}")
        return _good(walk)
    return _not_good(walk, scores, refused)


def _gate(walk: Walk) -> bool:
    """Whether the gate refused; too few rows to tell is no refusal."""
    verdict = walk.evidence.verdict
    if verdict is None:
        return False
    words = {"refused": "the gate refused", "too_few_rows": "the gate cannot tell"}
    told = [f"{words[check.outcome]}: {check.reason}" for check in verdict.checks if not check.passed]
    walk.reasons += told
    walk.ask("Does the gate let it pass?", verdict.passed, *told, words=verdict.outcome.replace("_", " "))
    return verdict.outcome == "refused"


def _good(walk: Walk) -> Decision:
    """Targets met, nothing refused."""
    evidence = walk.evidence
    lags = [words for _, words in lagging(evidence)]
    if evidence.after_sft and evidence.after_sft.slices:
        walk.ask("Does a slice lag behind?", bool(lags), *lags)
    walk.reasons += lags
    if evidence.align == "always":
        instead: Action = "measure_more" if _unsure(evidence) else "release"
        return _dpo(walk, "strategy.align is always: outputs are aligned to preferences all the same", instead)
    if _unsure(evidence):
        return _measure_more(walk)
    if not lags:
        return _end(walk, "release")
    if evidence.align == "never":
        return _end(walk, "release", "strategy.align is never, so the slice stays as it is")
    if cannot_be_ranked(evidence):
        return _end(walk, "release", f"{NOBODY_PREFERS}; so the slice stays as it is")
    able = f"clean rows pass and these do not: the model knows the task, align it by preference ({evidence.aligner})"
    return _dpo(walk, able, "release")


def _not_good(walk: Walk, scores: Scores, refused: bool) -> Decision:
    """A target is missed, or the gate refused."""
    evidence = walk.evidence
    instead: Action = "rethink" if refused else "keep_sft"
    if evidence.align == "always":
        return _dpo(walk, "strategy.align is always", instead)
    if evidence.align == "never":
        why = f"strategy.align is never, so {evidence.aligner} may not close the gap"
        walk.ask("Can it be optimised further?", False, why)
        walk.reasons.append(why)
        return _stuck(walk, scores)
    (better, gained), *others = knows_the_task(evidence, scores)
    walk.reasons += [gained, *(words for _, words in others)]
    able = better and all(holds for holds, _ in others)
    walk.ask("Can it be optimised further?", able, gained, *(words for _, words in others))
    if able:
        return _dpo(
            walk, f"the ability is there but not good enough: align it by preference ({evidence.aligner})", instead
        )
    only_unsure = all(holds for holds, _ in others) and evidence.gain is not None and evidence.gain.value > 0
    if only_unsure and not refused and _unsure(evidence):
        return _measure_more(walk)
    return _stuck(walk, scores)


def _dpo(walk: Walk, why: str, instead: Action) -> Decision:
    """Alignment, unless it is too dear: then `instead`, the best within the limits."""
    dear = too_dear(walk.evidence, "align")
    walk.ask(f"Is {walk.evidence.aligner} within the limits?", not dear, dear or in_words(walk.evidence, "align"))
    if not dear:
        return _end(walk, "align", why)
    walk.reasons += [why, f"{dear}: the model after SFT is the best within the limits"]
    return _measure_more(walk) if instead == "measure_more" else _end(walk, instead)


def _stuck(walk: Walk, scores: Scores) -> Decision:
    """Neither good enough nor to be aligned: more rows if the learning curve promises something, else think again."""
    curve = walk.evidence.rows_needed
    if curve is not None:
        promising = curve.answer == "reachable" and not forgot(walk.evidence, scores)
        walk.ask("Would more rows meet the target?", promising, curve.words)
        walk.reasons.append(curve.words)
        if promising:
            return _end(walk, "collect_data", f"collect {curve.more or 0:,} more rows", rows=curve.more)
    return _end(walk, "rethink", _advice(walk.evidence, scores))


def _unsure(evidence: Evidence) -> bool:
    return evidence.verdict is not None and evidence.verdict.outcome == "too_few_rows"


def _measure_more(walk: Walk) -> Decision:
    checks = walk.evidence.verdict.checks if walk.evidence.verdict else ()
    known = [check.rows_needed for check in checks if check.outcome == "too_few_rows" and check.rows_needed]
    rows = max(known, default=None)
    many = f"on some {rows:,} rows" if rows else "on far more rows"
    how = f"measure {many} (curate.validation_rows), or lower what the gate asks for"
    return _end(walk, "measure_more", how, rows=rows)


def _end(walk: Walk, action: Action, *reasons: str, rows: int | None = None) -> Decision:
    decision = walk.end(action, *reasons, alternatives=_others(walk.evidence, action), rows=rows)
    lags = dict(lagging(walk.evidence)) if action == "align" else {}
    return decision.model_copy(update={"slices": tuple(lags)})


def _advice(evidence: Evidence, scores: Scores) -> str:
    """What a person should look at first, from what is furthest from good."""
    if forgot(evidence, scores):
        return "mix in more general rows (curate.general_share), lower sft.learning_rate or train fewer epochs"
    valid, label = (scores.metrics.get("valid_json"), scores.metrics.get("intent_accuracy"))
    if valid is not None and valid.value < FORMAT_KNOWN:
        return "simplify the output format, or raise evaluate.max_new_tokens if answers are cut off"
    if label is not None and label.value < FORMAT_KNOWN:
        return "look for labels that overlap or are used inconsistently, and define them apart"
    return "rethink the task definition: look at the wrong outputs, add rows like them, or take a larger base.model"


# --- what was not chosen -----------------------------------------------------------------------------------


def _others(evidence: Evidence, chosen: Action) -> list[Alternative]:
    """The other ways on, with why not and their cost."""
    scores = evidence.after_sft
    assert scores is not None
    missed = any(shortfalls(scores, evidence.targets))
    outcome = evidence.verdict.outcome if evidence.verdict else "passed"
    why = {
        "release": _why_not_release(missed, outcome, evidence.aligner),
        "align": _why_not_align(evidence, scores, missed, outcome),
        "collect_data": _why_not_collect(evidence, chosen),
        "rethink": "nothing says that the task is wrong" if chosen != "keep_sft" else "the limits are what stops it",
    }
    return [
        Alternative(
            action=action,
            why_not=words,
            minutes=minutes(evidence, action),
            money=money(evidence, action),
        )
        for action, words in why.items()
        if action != chosen
    ]


def _why_not_release(missed: bool, outcome: str, aligner: str) -> str:
    if missed:
        return "a target is missed"
    return {"refused": "the gate refused", "too_few_rows": "the gate cannot tell yet"}.get(
        outcome, f"{aligner} comes first"
    )


def _why_not_align(evidence: Evidence, scores: Scores, missed: bool, outcome: str) -> str:
    if evidence.align == "never":
        return "strategy.align is never"
    if dear := too_dear(evidence, "align"):
        return dear
    if not missed and outcome != "refused":
        return "the targets are met" if outcome == "passed" else "the gate cannot tell yet"
    return "; ".join(words for holds, words in knows_the_task(evidence, scores) if not holds)


def _why_not_collect(evidence: Evidence, chosen: Action) -> str:
    if evidence.rows_needed is not None:
        return evidence.rows_needed.words
    if chosen in ("release", "measure_more"):
        return "the targets are met"
    return "whether more rows would help was not measured (strategy.learning_curve: true)"
