"""The page's figures: headline tiles, strips with intervals, curves over steps and rows. Knows nothing of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from posttrain.evaluation.metrics import METRICS
from posttrain.report.charts import LineChart, Strip, interval_chart, line_chart, strip
from posttrain.report.content import ReportInput, RowsCurve, ScoreLine, TrainingCurve
from posttrain.report.templates import words
from posttrain.wording import number

PANELS = (
    ("Loss", ("loss", "eval_loss")),
    ("Reward margin", ("rewards/margins",)),
    ("Reward accuracy", ("rewards/accuracies",)),
)
HEADLINE_METRICS = (
    "intent_accuracy", "slot_f1", "macro_f1", "accuracy", "final_answer", "field_f1", "exact_match", "valid_json",
)  # fmt: skip
TILES = 4
SLICE_METRICS = 3
SAFETY = "safety"


@dataclass(frozen=True)
class Tile:
    """A headline figure, and the same metric of the baseline."""

    metric: str
    value: str
    interval: str
    before: str


def slices(lines: Sequence[ScoreLine]) -> dict[str, list[ScoreLine]]:
    """Slice → the models that were measured on it, with their scores there."""
    found: dict[str, list[ScoreLine]] = {}
    for line in lines:
        for name, scores in line.scores.slices.items():
            found.setdefault(name, []).append(ScoreLine(label=line.label, scores=scores))
    return found


def slice_strips(report: ReportInput) -> list[Strip]:
    """One strip a metric, with every slice in it and every model measured there, beside the whole.

    Of the metrics those with a target, then those of the headline, as far as slices have them; safety stands alone.
    """
    parts = {name: lines for name, lines in slices(report.scores).items() if name != SAFETY}
    if not parts:
        return []
    measured = {name for lines in parts.values() for line in lines for name in line.scores.metrics}
    names = [name for name in dict.fromkeys([*report.targets, *HEADLINE_METRICS]) if name in measured]
    drawn = []
    for metric in (names or sorted(measured))[:SLICE_METRICS]:
        grouped = [("all rows", list(report.scores)), *parts.items()]
        rows = [
            (part, line.label, score)
            for part, lines in grouped
            for line in lines
            if (score := line.scores.metrics.get(metric))
        ]
        marks = [(label, each.value, each.low, each.high, "plain") for _, label, each in rows]
        made = strip(metric, _meaning(metric), marks, report.targets.get(metric))
        groups = [part for part, _, _ in rows]
        marked = tuple(replace(mark, group=group) for mark, group in zip(made.marks, groups, strict=True))
        drawn.append(replace(made, marks=marked))
    return drawn


def rows_chart(curve: RowsCurve) -> LineChart:
    """The learning curve: a metric over the rows that were trained on."""
    points = [(rows, score.value, score.low, score.high) for rows, score in curve.points]
    return interval_chart(words(curve.metric), "rows trained on", points, curve.target)


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


def _meaning(metric: str) -> str:
    known = METRICS.get(metric)
    if known is None:
        return ""
    return known.meaning if known.higher_is_better else f"{known.meaning}; lower is better"
