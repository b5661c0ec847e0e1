"""What each rung would take on this machine, from the plan's own estimates. Knows nothing of limits or decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain.models import estimate
from posttrain.models.hardware import Devices
from posttrain.models.machine import machine_of
from posttrain.models.recipe import Recipe
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
    if spec.learns_reward_model and rows.preference:
        found, size = recipes.devices_of(spec.resources), pair_bytes(rows.preference)
        aligning += of_reward_model(spec, base, rows.preference.rows, size, found)[1].seconds
    return {"align_base": aligning, "sft": sft, "align": sft + aligning}


def _estimates(spec: PipelineSpec, base: ModelRef, rows: CurateResult) -> tuple[estimate.StageEstimate, ...]:
    devices = recipes.devices_of(spec.resources)
    sft = recipes.recommend_sft(spec.sft, base, rows.train.rows, spec.resources)
    dpo = recipes.recommend_dpo(spec.align, spec.sft, base, spec.align.prompts)
    load = estimate.Load.of(spec, sft, dpo, rows.train.rows, rows.test.rows, text_bytes(rows.train))
    return estimate.estimate(recipes.shape_of(base), machine_of(devices), load)


def of_reward_model(
    spec: PipelineSpec, base: ModelRef, pairs: int, bytes_a_pair: float, devices: Devices
) -> tuple[Recipe, estimate.StageEstimate]:
    """The values of the training of the spec's reward model on so many pairs, and what it takes on `devices`.

    Raises: `ModelError` when the model that the spec names is not there, or its size is not known.
    """
    from posttrain.training.reward_model import located

    own, sft = spec.reward_model, spec.sft
    start = located(base, own)
    recipe = recipes.recommend_reward_model(own, sft, start, pairs, devices)
    load = estimate.PairsLoad(
        pairs=pairs,
        bytes_a_pair=bytes_a_pair,
        method=recipes.reward_model_method(own, sft),
        epochs=own.num_train_epochs,
        micro_batch_size=int(recipe["micro_batch_size"]),
        max_length=own.max_length,
        lora_rank=sft.lora_rank,
        accumulates=int(recipe["batch_size"]) > int(recipe["micro_batch_size"]),
        numbers=recipes.reward_model_numbers(own, sft, start, devices),
    )
    return recipe, estimate.reward_model(recipes.shape_of(start), machine_of(devices), load)


def pair_bytes(ref: DatasetRef) -> float:
    """Mean bytes of a preference with its answers, of one or of two, over the first thousand rows."""
    return text_bytes(ref, ("system", "prompt", "chosen", "rejected", "completion"))


def text_bytes(ref: DatasetRef, columns: tuple[str, ...] = ("system", "prompt", "completion")) -> float:
    """Mean bytes of those of these text columns that there are, over the first thousand rows."""
    from pyarrow import parquet

    there = [name for name in columns if name in parquet.read_schema(ref.uri).names]
    table = parquet.read_table(ref.uri, columns=there).slice(0, 1000).to_pylist()
    return sum(len(str(text).encode()) for row in table for text in row.values()) / max(len(table), 1)
