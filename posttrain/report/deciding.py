"""The number that decided at each box of the chart, in a few words: "slot F1 0.110 < 0.8", "265 of 200 rows".

Read off the decisions' evidence, the verdicts and the scores. Knows nothing of boxes' places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from posttrain.gates import Check, Verdict
from posttrain.outcome import last_decisions
from posttrain.report.content import ReportInput
from posttrain.report.funnel import stations
from posttrain.report.templates import words
from posttrain.strategy import Decision
from posttrain.strategy.words import higher_is_better
from posttrain.wording import duration, number

Evidence = Mapping[str, float | str | int]

WITHOUT_EXAMPLES = ("zero_shot", "step_by_step", "self_consistency")
"""Ways to ask by the prompt alone, as the evidence names them."""
PROMPTING = {"step-by-step": "step by step", "self-consistency": "by a vote"}
PREFERENCES = {
    "people": "people's pairs are given",
    "verifier": "the task's verifier can rank",
    "reward-model": "a reward model can rank",
    "none": "nobody can prefer",
}
CURVE = {
    "met": "the target is met",
    "flat": "the curve is flat",
    "not_begun": "learning has not begun",
    "above_ceiling": "the ceiling is too low",
    "noisy": "too noisy to tell",
    "too_far": "too far to tell",
}


def notes(report: ReportInput) -> dict[str, str]:
    """Key of a box → its number in words, of those that have one."""
    found = dict(_data(report))
    for decision in last_decisions(report.decisions):
        asked = BEFORE if decision.step == "baseline" else AFTER
        found |= {key: note(decision.evidence) for key, note in asked.items()}
        found |= _ends(decision)
    found |= {verdict.name: judged(verdict) for verdict in report.verdicts}
    found |= dict(_trained(report))
    return {key: text for key, text in found.items() if text}


def against_targets(evidence: Evidence, *ways: str) -> str:
    """The score that is furthest from its target, of the best of these ways to ask; as "slot F1 0.110 < 0.8"."""
    targets = _targets(evidence)
    if not targets:
        return "no targets are set"
    measured = [who for who in ways if any(name.startswith(f"{who}/") for name in evidence)]
    if not measured:
        return ""
    margin, metric, who = max(min((*_standing(evidence, who, name), who) for name in targets) for who in measured)
    if margin == -float("inf"):
        return f"{words(metric)} not measured"
    return f"{words(metric)} {_compared(metric, float(evidence[f'{who}/{metric}']), targets[metric])}"


def _standing(evidence: Evidence, who: str, metric: str) -> tuple[float, str]:
    return _margin(metric, evidence.get(f"{who}/{metric}"), float(evidence[f"target/{metric}"])), metric


def judged(verdict: Verdict) -> str:
    """The first check that did not pass, or how many did."""
    failing = next((check for check in verdict.checks if not check.passed), None)
    if failing is not None:
        word = {"refused": "refused", "too_few_rows": "too few rows"}[failing.outcome]
        return f"{word}: {_checked(failing)}"
    told = next((check for check in verdict.checks if check.gain is not None), None)
    if told is not None:
        return f"passed: {_checked(told)}"
    count = len(verdict.checks)
    return f"passed: {_checked(verdict.checks[0])}" if count == 1 else f"passed: {count} checks" if count else "passed"


def _checked(check: Check) -> str:
    size = number(check.value) if check.gain is None else f"{check.gain:+.3f}"
    return f"{check.slice}: {words(check.metric)} {size}" if check.slice else f"{words(check.metric)} {size}"


def _targets(evidence: Evidence) -> dict[str, float]:
    return {name.removeprefix("target/"): float(value) for name, value in evidence.items() if name[:7] == "target/"}


def _margin(metric: str, value: object, target: float) -> float:
    """How far over its target a score is, as a share of it; below 0 when missed, lowest when not measured."""
    if not isinstance(value, int | float):
        return -float("inf")
    side = 1 if higher_is_better(metric) else -1
    return side * (float(value) - target) / (abs(target) or 1.0)


def _compared(metric: str, value: float, target: float) -> str:
    better = value >= target if higher_is_better(metric) else value <= target
    sign = ("≥" if better else "<") if higher_is_better(metric) else ("≤" if better else ">")
    return f"{number(value)} {sign} {target:g}"


def _reached(evidence: Evidence) -> str:
    """How much of every target the better prompting reaches."""
    targets, best = _targets(evidence), None
    for who in (*WITHOUT_EXAMPLES, "few_shot"):
        if not any(name.startswith(f"{who}/") for name in evidence):
            continue
        margins = [_margin(name, evidence.get(f"{who}/{name}"), target) for name, target in targets.items()]
        shares = [max(0.0, 1 + min(0.0, margin)) for margin in margins]
        best = max(best or 0.0, min(shares, default=0.0))
    return f"{best:.0%} of the target reached" if targets and best is not None else ""


def _minutes(rung: str, title: str) -> Callable[[Evidence], str]:
    def note(evidence: Evidence) -> str:
        spent = evidence.get(f"minutes/{rung}")
        return f"{title}: ≈ {duration(60 * float(spent))}" if isinstance(spent, int | float) else ""

    return note


def _fit(evidence: Evidence) -> str:
    share = evidence.get("bad_share")
    return f"{share:.1%} of rows are bad" if isinstance(share, int | float) else ""


def _enough(evidence: Evidence) -> str:
    rows, fewest = evidence.get("usable_rows"), evidence.get("min_rows")
    if not isinstance(rows, int | float) or not isinstance(fewest, int | float):
        return ""
    return f"{rows:,} rows {'≥' if rows >= fewest else '<'} {fewest:,}"


def _slice(evidence: Evidence) -> str:
    """The slice that is furthest below a target."""
    targets = _targets(evidence)
    parts = [tuple(name.split("/")[1:]) for name in evidence if name.startswith("after_sft/") and name.count("/") == 2]
    found = [
        (_margin(metric, evidence[f"after_sft/{part}/{metric}"], targets[metric]), part, metric)
        for part, metric in parts
        if metric in targets
    ]
    if not found:
        return ""
    _, part, metric = min(found)
    value = float(evidence[f"after_sft/{part}/{metric}"])
    return f"{part}: {words(metric)} {_compared(metric, round(value, 2), targets[metric])}"


def _gain(evidence: Evidence) -> str:
    gain, p_value = evidence.get("gain"), evidence.get("gain_p_value")
    if not isinstance(gain, int | float) or not isinstance(p_value, int | float):
        return ""
    return f"gain {gain:+.3f}, p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'}"


def _curve(evidence: Evidence) -> str:
    rows = evidence.get("rows_needed")
    if isinstance(rows, int | float):
        return f"{rows:,} rows in all"
    return CURVE.get(str(evidence.get("learning_curve", "")), "")


BEFORE: dict[str, Callable[[Evidence], str]] = {
    "prompt": lambda evidence: against_targets(evidence, *WITHOUT_EXAMPLES),
    "few_shot": lambda evidence: against_targets(evidence, "few_shot"),
    "pattern": _reached,
    "prefer": lambda evidence: PREFERENCES.get(str(evidence.get("preferences", "")), ""),
    "fit": _fit,
    "enough": _enough,
    "limits": _minutes("sft", "SFT"),
}
AFTER: dict[str, Callable[[Evidence], str]] = {
    "met": lambda evidence: against_targets(evidence, "after_sft"),
    "slice": _slice,
    "able": _gain,
    "more": _curve,
    "dpo_limits": _minutes("align", "with SFT"),
}
"""Key of a box → what its decision's evidence says there."""


def _ends(decision: Decision) -> dict[str, str]:
    """What stands in a decision beyond its evidence."""
    rows = decision.rows
    if decision.action == "collect_data" and rows:
        return {"collect_data" if decision.step == "baseline" else "collect_after": f"{rows:,} more"}
    if decision.action == "measure_more" and rows:
        return {"measure_more": f"on {rows:,} rows"}
    if decision.action in ("use_prompt", "keep_prompt"):
        return {decision.action: PROMPTING.get(decision.prompting, decision.prompting)}
    if decision.action == "align_base":
        return {"limits": _minutes("align_base", decision.aligner)(decision.evidence)}
    return {}


def _data(report: ReportInput) -> Iterator[tuple[str, str]]:
    found = stations(report.rules, report.funnel)
    if found:
        yield "data", f"{found[0].rows_in:,} rows → {found[-1].rows_out:,}"


def _trained(report: ReportInput) -> Iterator[tuple[str, str]]:
    """What training came to, and what became of the version."""
    measured = {line.label: line.scores for line in report.scores}
    chosen = {decision.action for decision in last_decisions(report.decisions)}
    for key, label, actions in (("sft", "SFT", {"sft"}), ("dpo", report.aligner, {"align", "align_base"})):
        if label in measured:
            name = next((name for name in report.targets if name in measured[label].metrics), None)
            name = name or next(iter(measured[label].metrics), None)
            yield key, f"{words(name)} {number(measured[label].metrics[name].value)}" if name else ""
        elif chosen & actions:
            yield key, "advised, not run" if report.ending == "advice" else "nothing to learn from" * (key == "dpo")
    if report.lineage.alias and report.lineage.model_uri:
        yield report.lineage.alias, f"version {report.lineage.model_uri.rsplit('/', 1)[-1]}"
