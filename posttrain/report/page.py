"""Render a `ReportInput` as one HTML page that needs nothing beside it: no script, no font, no network.

Text is escaped by jinja2 whatever it holds; the page's own policy forbids scripts and requests. Knows nothing of
where the numbers come from.
"""

from __future__ import annotations

from pathlib import Path

from posttrain.artifacts import write_atomic
from posttrain.report import figures
from posttrain.report.confusion import MOST_LABELS, mistakes
from posttrain.report.content import Changes, ReportInput, SideBySide
from posttrain.report.differences import Part, marked
from posttrain.report.flowchart_drawing import flowchart
from posttrain.report.funnel import draw, in_funnel, stations, summary
from posttrain.report.story import GATES, OUTCOMES, gate_title, path
from posttrain.report.templates import environment, tidy
from posttrain.strategy import MEANING, meaning


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
            chart=flowchart(report),
            tiles=figures.tiles(report),
            charts=[(curve, figures.charts(curve)) for curve in report.curves],
            rows_chart=figures.rows_chart(report.rows_curve) if report.rows_curve else None,
            strips=figures.strips(report.scores, report.targets),
            slices=figures.slices(report.scores),
            slice_strips=figures.slice_strips(report),
            peers=figures.peers(report),
            changes=shown_changes(report.changes),
            mistakes=mistakes(report.confusion) if report.confusion else [],
            most_labels=MOST_LABELS,
            gates={name: gate_title(name, report.aligner) for name in GATES},
            meaning={action: meaning(action, report.aligner) for action in MEANING},
            outcomes=OUTCOMES,
            seconds=sum(stage.seconds for stage in report.stages if not stage.reused),
            all_seconds=sum(stage.seconds for stage in report.stages),
            longest=max([1e-9, *(stage.seconds for stage in report.stages)]),
        )
    )


def write(report: ReportInput, path: Path) -> Path:
    """Write the page; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render(report))
    return path


def shown_changes(
    changes: tuple[Changes, ...],
) -> list[tuple[Changes, list[tuple[SideBySide, dict[str, tuple[Part, ...]]]]]]:
    """Each comparison with its rows, and each row's two outputs in parts: what differs, and what does not."""
    return [(each, [(row, _marked(row)) for row in each.rows]) for each in changes]


def _marked(row: SideBySide) -> dict[str, tuple[Part, ...]]:
    labels = list(row.outputs)
    return dict(zip(labels, marked(*(tidy(row.outputs[label]) for label in labels)), strict=True))
