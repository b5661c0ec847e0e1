"""Everything that is known before training, gathered into evidence: one place for the flow and for the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain.strategy.costs import seconds_of_rungs
from posttrain.strategy.evidence import Evidence
from posttrain.strategy.quality import preferences_of, quality_of

if TYPE_CHECKING:
    from posttrain.artifacts import ModelRef
    from posttrain.data.curate import CurateResult
    from posttrain.data.validate import ValidateResult
    from posttrain.evaluation.scores import Scores
    from posttrain.spec import PipelineSpec


def known_before(
    spec: PipelineSpec,
    base: ModelRef,
    validated: ValidateResult,
    rows: CurateResult,
    zero_shot: Scores,
    few_shot: Scores | None,
    step_by_step: Scores | None = None,
    self_consistency: Scores | None = None,
) -> Evidence:
    """Evidence for the first decision. Raises: ModelError when the model's size is not known."""
    return Evidence.of_baseline(
        spec,
        rows.train.rows,
        zero_shot,
        few_shot,
        step_by_step=step_by_step,
        self_consistency=self_consistency,
        preferences=preferences_of(spec.task.kind, rows, spec.align),
        quality=quality_of(validated, rows),
        seconds=seconds_of_rungs(spec, base, rows),
    )
