"""The decision path as a reader follows it: decisions and verdicts in the order of the flow, each with its reasons.

Knows nothing of HTML.
"""

from __future__ import annotations

from dataclasses import dataclass

from posttrain.gates import Verdict
from posttrain.outcome import last_decisions
from posttrain.report.content import ReportInput
from posttrain.report.templates import words
from posttrain.strategy import Decision
from posttrain.strategy.decision import Alternative, Turn
from posttrain.wording import number

QUESTIONS = {
    "baseline": "Does the base model need training?",
    "after_sft": "Does SFT need preference alignment on top?",
}
OUTCOMES = {"passed": "passed", "refused": "refused", "too_few_rows": "too few rows to tell"}
GATES = {"after_sft": "Gate after SFT", "after_align": "Gate after {aligner}", "release": "Release gate"}
"""With room for the name of alignment's method."""
# In the order of the flow, so that the page tells one story.
STORY = ("decision:baseline", "gate:after_sft", "decision:after_sft", "gate:after_align", "gate:release")


@dataclass(frozen=True)
class PathStep:
    """One stop on the decision path; `tone` is good, bad or plain."""

    title: str
    outcome: str
    tone: str
    reasons: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...] = ()
    turns: tuple[Turn, ...] = ()
    alternatives: tuple[Alternative, ...] = ()


def path(report: ReportInput) -> list[PathStep]:
    """Decisions and verdicts in the order of the flow, and the alias that came out.

    A question that was asked again, when more was known, is one stop with its last answer.
    """
    steps = {
        f"decision:{each.step}": _decided(each, _earlier(each, report)) for each in last_decisions(report.decisions)
    }
    steps |= {f"gate:{verdict.name}": _judged(verdict, report.aligner) for verdict in report.verdicts}
    ordered = [steps.pop(key) for key in STORY if key in steps] + list(steps.values())
    alias = report.lineage.alias
    if alias:
        tone = "good" if alias == "champion" else "plain"
        ordered.append(PathStep("Promotion", f"alias {alias}", tone, report.lineage.alias_reasons))
    return ordered


def _earlier(decision: Decision, report: ReportInput) -> tuple[str, ...]:
    """What was decided at the same step before, if it was something else."""
    before = [each for each in report.decisions if each.step == decision.step and each.action != decision.action]
    return tuple(f"asked again; decided at first: {each.meaning}" for each in before)


def _decided(decision: Decision, earlier: tuple[str, ...] = ()) -> PathStep:
    tone = "bad" if decision.action in {"rethink", "collect_data", "mend_data", "measure_more"} else "plain"
    evidence = tuple(
        (words(name), number(value) if isinstance(value, float) else str(value))
        for name, value in decision.evidence.items()
    )
    return PathStep(
        QUESTIONS.get(decision.step, decision.step),
        decision.meaning,
        tone,
        (*earlier, *decision.reasons),
        evidence,
        decision.path,
        decision.alternatives,
    )


def gate_title(name: str, aligner: str) -> str:
    """The gate in words; `aligner` is the name of alignment's method. A gate that has none keeps its name."""
    return GATES[name].format(aligner=aligner) if name in GATES else name


def _judged(verdict: Verdict, aligner: str) -> PathStep:
    return PathStep(
        gate_title(verdict.name, aligner),
        OUTCOMES[verdict.outcome],
        "good" if verdict.passed else "bad",
        tuple(check.reason for check in verdict.checks) or (verdict.summary,),
    )
