"""The curve of a training as a picture that stands alone (for Prefect): its loss, or what it was rewarded.

Knows nothing of how it was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from posttrain.report.charts import line_chart
from posttrain.report.templates import environment

SHOWN = (("loss", "eval_loss"), ("reward", "objective/kl"))
"""Pairs of metrics that are drawn together; the first pair that the training has any of."""
WIDTH, HEIGHT = 720, 260
LEFT, TOP, WIDE, HIGH = 56, 40, 632, 168


class Point(Protocol):
    """Metrics at one step."""

    @property
    def step(self) -> int: ...
    @property
    def metrics(self) -> dict[str, float]: ...


def picture(points: Sequence[Point]) -> str:
    """The curve as one SVG, which needs nothing beside it; "" when there is nothing to draw a line through."""
    for names in SHOWN:
        series = {name: [(each.step, each.metrics[name]) for each in points if name in each.metrics] for name in names}
        drawn = {name: found for name, found in series.items() if len(found) > 1}
        if drawn and (chart := line_chart(" and ".join(drawn), drawn)):
            return (
                environment()
                .get_template("curve.svg.j2")
                .render(
                    chart=chart, title=chart.title, width=WIDTH, height=HEIGHT, left=LEFT, top=TOP, wide=WIDE, high=HIGH
                )
            )
    return ""
