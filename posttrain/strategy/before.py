"""The first half of the flowchart: is the prompt enough, and if not, what is to be trained, on what?"""

from __future__ import annotations

from collections.abc import Sequence

from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Scores
from posttrain.strategy.conditions import RANKERS, can_prefer, is_enough, is_fit, must_learn
from posttrain.strategy.decision import Action, Alternative, Decision
from posttrain.strategy.evidence import Evidence
from posttrain.strategy.spending import in_words, minutes, money, too_dear
from posttrain.strategy.walk import Walk
from posttrain.strategy.words import meets_all, shortfalls, standing, why_not


def before_training(evidence: Evidence) -> Decision:
    """The leaf for an untrained model."""
    walk = Walk(evidence)
    if enough := _prompting(walk):
        return enough
    decision = _learn(walk) if _has_to_learn(walk) else _align(walk)
    return decision.model_copy(update={"prompting": evidence.best.prompting})


WHO = {
    "zero-shot": "the prompt alone",
    "step-by-step": "thinking step by step",
    "self-consistency": "a vote over several answers",
    "few-shot": "few-shot",
}


def _prompting(walk: Walk) -> Decision | None:
    """The two leaves at which prompting meets every target: without worked examples, and with them."""
    few = walk.evidence.few_shot
    asked: list[tuple[Action, str, Sequence[Scores]]] = [
        ("use_prompt", "Does the prompt meet the need?", walk.evidence.prompts),
        ("use_few_shot", "Do worked examples in it?", [few] if few else []),
    ]
    for action, question, measured in asked:
        if measured and (decision := _enough(walk, action, question, measured)):
            return decision
    return None


def _enough(walk: Walk, action: Action, question: str, measured: Sequence[Scores]) -> Decision | None:
    """The leaf when one of these ways of asking meets every target: the first, which is the cheapest to ask."""
    evidence = walk.evidence
    missed: list[str] = []
    for scores in measured:
        if meets_all(scores, evidence.targets):
            who = "worked examples in the prompt meet" if action == "use_few_shot" else f"{WHO[scores.prompting]} meets"
            reason = f"{who} every target: {standing(scores, evidence.targets)}"
            walk.ask(question, True, *missed, reason)
            walk.reasons += missed
            ended = walk.end(action, reason, _cheaper(evidence, scores), alternatives=_others(evidence, action))
            return ended.model_copy(update={"prompting": scores.prompting})
        missed += why_not(scores, evidence.targets, WHO[scores.prompting])
    walk.ask(question, False, *(missed or ["the spec sets no targets"]))
    walk.reasons += missed
    return None


def _cheaper(evidence: Evidence, chosen: Scores) -> str:
    """Worked examples, where they would do as well as reasoning or a vote: they lengthen the prompt, not the answer."""
    few = evidence.few_shot
    if few is None or chosen.prompting not in ("step-by-step", "self-consistency"):
        return ""
    if not meets_all(few, evidence.targets):
        return ""
    return f"worked examples would do as well and generate less: {standing(few, evidence.targets)}"


def _has_to_learn(walk: Walk) -> bool:
    learn, why = must_learn(walk.evidence)
    if not learn or not walk.evidence.targets:
        walk.reasons.append(why)
    return walk.ask("Must a new pattern be learned?", learn, why)


def _align(walk: Walk) -> Decision:
    """Nothing new is to be learned: align the base model, or keep the prompt."""
    evidence = walk.evidence
    can, why = can_prefer(evidence)
    walk.ask("Can answers be aligned to a preference?", can, why)
    if not can:
        return walk.end("keep_prompt", f"{why}: {_meanwhile(evidence)}", alternatives=_others(evidence, "keep_prompt"))
    if evidence.preferences in RANKERS and (mend := _mend(walk)):
        return mend
    if dear := too_dear(evidence, "align_base"):
        return _within_limits(walk, dear)
    walk.ask("Is it within the limits?", True, in_words(evidence, "align_base"))
    return walk.end(
        "align_base",
        f"{why}: align the base model by {evidence.aligner}, without SFT",
        alternatives=_others(evidence, "align_base"),
    )


def _learn(walk: Walk) -> Decision:
    """Something new is to be learned: SFT, if data and limits allow."""
    evidence = walk.evidence
    if mend := _mend(walk):
        return mend
    enough, rows = is_enough(evidence)
    walk.ask("Is there enough data?", enough, rows)
    if not enough:
        return _collect(walk, rows)
    if dear := too_dear(evidence, "sft"):
        return _within_limits(walk, dear)
    walk.ask("Is it within the limits?", True, in_words(evidence, "sft"))
    reason = f"a new pattern must be learned, and {rows}"
    return walk.end("sft", reason, alternatives=_others(evidence, "sft"))


def _mend(walk: Walk) -> Decision | None:
    evidence = walk.evidence
    fit, why = is_fit(evidence)
    if evidence.quality is not None:
        walk.ask("Is the data fit to learn from?", fit, why)
    if fit:
        return None
    mend = f"mend the rules' worst rows at their source, or collect others; until then {_meanwhile(evidence)}"
    return walk.end("mend_data", f"{why}: {mend}", alternatives=_others(evidence, "mend_data"))


def _collect(walk: Walk, few: str) -> Decision:
    evidence, curve = walk.evidence, walk.evidence.rows_needed
    more = evidence.min_rows - evidence.usable_rows
    if curve is not None:
        walk.reasons.append(curve.words)
        more = max(more, curve.more or 0)
    meanwhile = f"{few}: collect more data, {more:,} rows at least; until then {_meanwhile(evidence)}"
    return walk.end("collect_data", meanwhile, alternatives=_others(evidence, "collect_data"), rows=more)


def _within_limits(walk: Walk, dear: str) -> Decision:
    """The rung that is wanted is too dear, so the best below it."""
    walk.ask("Is it within the limits?", False, dear)
    best = f"{dear}: {_meanwhile(walk.evidence)}, the best rung within the limits"
    return walk.end("keep_prompt", best, alternatives=_others(walk.evidence, "keep_prompt"))


def _meanwhile(evidence: Evidence) -> str:
    """Which prompting to live with."""
    best = evidence.best
    metric = main_metric(evidence.kind, best.metrics)
    score = best.metrics.get(metric)
    if score is not None and score.low <= 0:
        return f"no prompt does the work ({best.prompting}: {metric} {score})"
    return f"use the {best.prompting} prompt" + (f" ({metric} {score})" if score else "")


# --- what was not chosen -----------------------------------------------------------------------------------


def _others(evidence: Evidence, chosen: Action) -> list[Alternative]:
    """Every other rung of the ladder, from cheap to dear, with why not and its cost."""
    why = {
        "use_prompt": _why_not_prompting(evidence, chosen, few_shot=False),
        "use_few_shot": _why_not_prompting(evidence, chosen, few_shot=True),
        "align_base": _why_not_align_base(evidence, chosen),
        "sft": _why_not_sft(evidence, chosen),
        "align": "strategy.align is never" if evidence.align == "never" else _only_after_sft(evidence, chosen),
        "collect_data": _why_not_collect(evidence, chosen),
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


PROMPTING: tuple[Action, ...] = ("use_prompt", "use_few_shot")


def _why_not_prompting(evidence: Evidence, chosen: Action, few_shot: bool) -> str:
    if few_shot and chosen == "use_prompt":
        return "the prompt is enough without examples"
    if few_shot and evidence.few_shot is None:
        return "not measured (evaluate.prompt_strategies or evaluate.few_shot_examples leaves it out)"
    measured = (evidence.few_shot,) if few_shot else evidence.prompts
    told = [_misses(scores, evidence) for scores in measured if scores is not None]
    return "; ".join(filter(None, told)) or "the spec sets no targets to meet"


def _misses(scores: Scores, evidence: Evidence) -> str:
    missed = [f"{name} {words}, target {target:g}" for name, target, words in shortfalls(scores, evidence.targets)]
    who = f"{scores.prompting} " if scores.prompting in ("step-by-step", "self-consistency") else ""
    return f"{who}misses {'; '.join(missed)}" if missed else ""


def _why_not_align_base(evidence: Evidence, chosen: Action) -> str:
    if chosen in PROMPTING:
        return "prompting is enough"
    learn, why = must_learn(evidence)
    if learn:
        return why
    can, no_preference = can_prefer(evidence)
    fit, bad = is_fit(evidence)
    return no_preference if not can else too_dear(evidence, "align_base") if fit else bad


def _why_not_sft(evidence: Evidence, chosen: Action) -> str:
    if chosen in PROMPTING:
        return "prompting is enough"
    learn, why = must_learn(evidence)
    if not learn:
        return f"{why}; strategy.new_pattern: yes asks for SFT all the same"
    failing = [words for holds, words in (is_fit(evidence), is_enough(evidence)) if not holds]
    return "; ".join([*failing, *filter(None, [too_dear(evidence, "sft")])])


def _only_after_sft(evidence: Evidence, chosen: Action) -> str:
    if chosen != "sft":
        return "needs SFT first, which was not chosen"
    return too_dear(evidence, "align") or "asked again when the model has been measured after SFT"


def _why_not_collect(evidence: Evidence, chosen: Action) -> str:
    if chosen in PROMPTING:
        return "prompting is enough"
    enough, why = is_enough(evidence)
    return why if enough else "mend what is there first" if chosen == "mend_data" else "there is nothing new to learn"
