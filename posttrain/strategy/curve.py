"""When a learning curve is worth its training, on what sizes, and what it says of the targets. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from posttrain.evaluation.learning_curve import Point, RowsNeeded, fit
from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Scores
from posttrain.strategy.decision import Decision
from posttrain.strategy.words import higher_is_better, meets_all

if TYPE_CHECKING:
    from posttrain.spec import PipelineSpec

SHARES = (25, 50)
"""Percent of the training rows that the curve is drawn through, besides all of them."""

FEWEST_ROWS = 8
"""With fewer, a quarter of them is no training set."""


def wanted_before_collecting(spec: PipelineSpec, decision: Decision, rows: int) -> bool:
    """Whether rows are too few, and the spec asks how many would do."""
    return decision.action == "collect_data" and _allowed(spec, rows)


def wanted_after_sft(spec: PipelineSpec, scores: Scores, rows: int) -> bool:
    """Whether a target is missed after SFT, and the spec asks how many rows would meet it."""
    return not meets_all(scores, spec.strategy.targets) and _allowed(spec, rows)


def _allowed(spec: PipelineSpec, rows: int) -> bool:
    return spec.strategy.learning_curve and bool(spec.strategy.targets) and rows >= FEWEST_ROWS


def sizes(rows: int) -> dict[int, int]:
    """Percent → rows, for the parts of the training rows."""
    return {share: max(1, rows * share // 100) for share in SHARES}


def rows_needed(spec: PipelineSpec, measured: Mapping[int, Scores]) -> RowsNeeded | None:
    """What the curve through `measured` (training rows → scores) says of the kind's main target, else of the first.

    None when that target was not measured, or sizes are too few.
    """
    targets = {name: target for name, target in spec.strategy.targets.items() if name != "perplexity"}
    main = main_metric(spec.task.kind, targets)
    metric = main if main in targets else next(iter(targets), "")
    if len(measured) < 3 or any(metric not in scores.metrics for scores in measured.values()):
        return None
    points = [Point(rows=rows, score=scores.metrics[metric]) for rows, scores in measured.items()]
    better_up = higher_is_better(metric)
    shares = better_up and all(point.score.value <= 1 for point in points)  # a user's own metric may go beyond
    curve = fit(
        points,
        metric,
        higher_is_better=better_up,
        best=1.0 if shares else None,
        resamples=spec.evaluate.resamples,
        seed=spec.evaluate.seed,
    )
    return curve.rows_needed(targets[metric])
