"""Render a `ReportInput` as one HTML page that needs nothing beside it: no script, no font, no network.

Text is escaped by jinja2 whatever it holds; the page's own policy forbids scripts and requests. Knows nothing of
where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posttrain.artifacts import write_atomic
from posttrain.evaluation.metrics import METRICS
from posttrain.gates import Verdict
from posttrain.report.charts import LineChart, Strip, line_chart, strip
from posttrain.report.content import ReportInput, ScoreLine, TrainingCurve
from posttrain.report.funnel import draw, in_funnel, stations, summary
from posttrain.report.templates import environment, words
from posttrain.strategy import MEANING, Decision
from posttrain.strategy.decision import Alternative, Turn
from posttrain.wording import number

QUESTIONS = {
    "baseline": "Does the base model need training?",
    "after_sft": "Does SFT need preference alignment on top?",
}
OUTCOMES = {"passed": "passed", "refused": "refused", "too_few_rows": "too few rows to tell"}
GATES = {"after_sft": "Gate after SFT", "after_align": "Gate after DPO", "release": "Release gate"}
# In the order of the flow, so that the page tells one story.
STORY = ("decision:baseline", "gate:after_sft", "decision:after_sft", "gate:after_align", "gate:release")
PANELS = (
    ("Loss", ("loss", "eval_loss")),
    ("Reward margin", ("rewards/margins",)),
    ("Reward accuracy", ("rewards/accuracies",)),
)
HEADLINE_METRICS = (
    "intent_accuracy", "slot_f1", "macro_f1", "accuracy", "final_answer", "field_f1", "exact_match", "valid_json",
)  # fmt: skip
TILES = 4


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


@dataclass(frozen=True)
class Tile:
    """A headline figure, and the same metric of the baseline."""

    metric: str
    value: str
    interval: str
    before: str


def render(report: ReportInput) -> str:
    """The page as HTML."""
    steps = stations(report.rules, report.funnel)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            steps=steps,
            stream=draw(steps),
            story=summary(steps),
            beside=[
                (part, step)
                for part, steps_of_part in report.other_funnels.items()
                for step in steps_of_part
                if step.rows_in != step.rows_out or step.step == "length_bias"
            ],
            elsewhere=[rule for rule in report.rules if not (steps and in_funnel(rule))],
            path=path(report),
            preference=preference(report),
            tiles=tiles(report),
            charts=[(curve, charts(curve)) for curve in report.curves],
            strips=strips(report.scores, report.targets),
            slices=slices(report.scores),
            peers=peers(report),
            gates=GATES,
            meaning=MEANING,
            outcomes=OUTCOMES,
            seconds=sum(stage.seconds for stage in report.stages if not stage.reused),
            longest=max([1e-9, *(stage.seconds for stage in report.stages)]),
        )
    )


def write(report: ReportInput, path: Path) -> Path:
    """Write the page; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render(report))
    return path


def path(report: ReportInput) -> list[PathStep]:
    """Decisions and verdicts in the order of the flow, and the alias that came out."""
    steps = {f"decision:{decision.step}": _decided(decision) for decision in report.decisions}
    steps |= {f"gate:{verdict.name}": _judged(verdict) for verdict in report.verdicts}
    ordered = [steps.pop(key) for key in STORY if key in steps] + list(steps.values())
    alias = report.lineage.alias
    if alias:
        tone = "good" if alias == "champion" else "plain"
        ordered.append(PathStep("Promotion", f"alias {alias}", tone, report.lineage.alias_reasons))
    return ordered


def preference(report: ReportInput) -> tuple[str, tuple[str, ...]]:
    """Whether DPO was run, in words, and why."""
    first = next((decision for decision in report.decisions if decision.action == "align_base"), None)
    if first is not None:
        return "DPO was run on the base model, without SFT.", first.reasons
    decided = next((decision for decision in report.decisions if decision.step == "after_sft"), None)
    if decided is None:
        return "DPO was not run: the chain ended before that question came up.", ()
    if decided.action == "align":
        return "DPO was run.", decided.reasons
    return f"DPO was not run; the decision after SFT was: {MEANING[decided.action]}.", decided.reasons


def slices(lines: Sequence[ScoreLine]) -> dict[str, list[ScoreLine]]:
    """Slice → the models that were measured on it, with their scores there."""
    found: dict[str, list[ScoreLine]] = {}
    for line in lines:
        for name, scores in line.scores.slices.items():
            found.setdefault(name, []).append(ScoreLine(label=line.label, scores=scores))
    return found


def tiles(report: ReportInput) -> list[Tile]:
    """The final model's figures beside the first measured model's."""
    if not report.scores:
        return []
    first, last = report.scores[0], report.scores[-1]
    names = [name for name in HEADLINE_METRICS if name in last.scores.metrics] or list(last.scores.metrics)
    found = []
    for name in names[:TILES]:
        score, before = last.scores.metrics[name], first.scores.metrics.get(name)
        was = f"{first.label}: {number(before.value)}" if before and first is not last else ""
        found.append(Tile(name, number(score.value), f"{number(score.low)} – {number(score.high)}", was))
    return found


def charts(curve: TrainingCurve) -> list[LineChart]:
    """The panels that the curve has values for."""
    drawn = []
    for title, names in PANELS:
        series = {name: [(p.step, p.metrics[name]) for p in curve.points if name in p.metrics] for name in names}
        if chart := line_chart(title, {name: points for name, points in series.items() if points}):
            drawn.append(chart)
    return drawn


def strips(lines: Sequence[ScoreLine], targets: dict[str, float]) -> list[Strip]:
    """One strip a metric, every measured model on it; the last is the final one."""
    metrics = dict.fromkeys(name for line in lines for name in line.scores.metrics)
    drawn = []
    for metric in [*(name for name in METRICS if name in metrics), *(name for name in metrics if name not in METRICS)]:
        rows = [
            (line.label, score.value, score.low, score.high, "ours" if line is lines[-1] else "plain")
            for line in lines
            if (score := line.scores.metrics.get(metric))
        ]
        drawn.append(strip(metric, _meaning(metric), rows, targets.get(metric)))
    return drawn


def peers(report: ReportInput) -> list[Strip]:
    """Our final scores among the published ones, best first; a metric that no peer has is left out."""
    if not report.scores:
        return []
    final, drawn = report.scores[-1], []
    for metric, score in final.scores.metrics.items():
        rows = [
            (f"{peer.name} ({peer.note})" if peer.note else peer.name, peer.metrics[metric], None, None, "plain")
            for peer in report.published.peers
            if metric in peer.metrics
        ]
        if rows:
            ours = (f"Ours: {final.label}", score.value, score.low, score.high, "ours")
            ranked = sorted([ours, *rows], key=lambda row: -row[1])
            drawn.append(strip(metric, _meaning(metric), ranked, None))
    return drawn


def _decided(decision: Decision) -> PathStep:
    tone = "bad" if decision.action in {"rethink", "collect_data", "mend_data", "measure_more"} else "plain"
    evidence = tuple(
        (words(name), number(value) if isinstance(value, float) else str(value))
        for name, value in decision.evidence.items()
    )
    return PathStep(
        QUESTIONS.get(decision.step, decision.step),
        MEANING[decision.action],
        tone,
        decision.reasons,
        evidence,
        decision.path,
        decision.alternatives,
    )


def _judged(verdict: Verdict) -> PathStep:
    return PathStep(
        GATES.get(verdict.name, verdict.name),
        OUTCOMES[verdict.outcome],
        "good" if verdict.passed else "bad",
        tuple(check.reason for check in verdict.checks) or (verdict.summary,),
    )


def _meaning(metric: str) -> str:
    known = METRICS.get(metric)
    if known is None:
        return ""
    return known.meaning if known.higher_is_better else f"{known.meaning}; lower is better"
