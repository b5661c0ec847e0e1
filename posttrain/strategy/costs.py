"""What each rung would take on this machine, from the plan's own estimates. Knows nothing of limits or decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain.models import estimate
from posttrain.models.machine import machine_of
from posttrain.spec.sections.align import ONLINE
from posttrain.training import recipes

if TYPE_CHECKING:
    from posttrain.artifacts import DatasetRef, ModelRef
    from posttrain.data.curate import CurateResult
    from posttrain.spec import PipelineSpec
    from posttrain.strategy.evidence import Rung

OF_SFT = ("sft", "evaluate")
OF_ALIGNMENT = ("pairs", "dpo", *ONLINE, "evaluate aligned")


def seconds_of_rungs(spec: PipelineSpec, base: ModelRef, rows: CurateResult) -> dict[Rung, float]:
    """Seconds of training and of measuring on the validation split for SFT, alignment alone, and both.

    Without alignment when `strategy.align` is never. Raises: ModelError when the model's size is not known.
    """
    stages = {each.stage: each.seconds for each in _estimates(spec, base, rows)}
    sft = sum(stages[name] for name in OF_SFT)
    if "evaluate aligned" not in stages:
        return {"sft": sft}
    aligning = sum(stages.get(name, 0.0) for name in OF_ALIGNMENT)
    return {"align_base": aligning, "sft": sft, "align": sft + aligning}


def _estimates(spec: PipelineSpec, base: ModelRef, rows: CurateResult) -> tuple[estimate.StageEstimate, ...]:
    devices = recipes.devices_of(spec.resources)
    sft = recipes.recommend_sft(spec.sft, base, rows.train.rows, spec.resources)
    dpo = recipes.recommend_dpo(spec.align, spec.sft, base, spec.align.prompts)
    load = estimate.Load.of(spec, sft, dpo, rows.train.rows, rows.test.rows, text_bytes(rows.train))
    return estimate.estimate(recipes.shape_of(base), machine_of(devices), load)


def text_bytes(ref: DatasetRef) -> float:
    """Mean bytes of the text columns over the first thousand rows."""
    from pyarrow import parquet

    table = parquet.read_table(ref.uri, columns=["system", "prompt", "completion"]).slice(0, 1000).to_pylist()
    return sum(len(str(text).encode()) for row in table for text in row.values()) / max(len(table), 1)
