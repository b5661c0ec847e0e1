"""The values that a spec leaves open, settled for this model, this data and this machine.

Joins `models.recipe` (what the sources recommend) with `models.estimate` (what fits into memory) and what the
hardware can do. Imports no torch: a plan must be quick.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from posttrain.artifacts import ModelRef
from posttrain.models import estimate
from posttrain.models.recipe import Method, align_recipe, reward_model_recipe, sft_recipe
from posttrain.models.recipe import Recipe as Recommended
from posttrain.training.job import Recipe

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, RewardModelSpec, SFTSpec

CHECKPOINTED = 1e9
"""Above so many parameters activations are computed twice rather than kept: a third more time, a fraction of memory."""

MOST_THREADS = 8
"""More threads than this slow a small model down."""


def for_sft(spec: SFTSpec, base: ModelRef, rows: int, threads: int | None = None) -> Recipe:
    """SFT's values for `base` on `rows`."""
    return _settled(recommend_sft(spec, base, rows), base, spec.bf16, threads)


def for_dpo(spec: AlignSpec, sft: SFTSpec, policy: ModelRef, pairs: int, threads: int | None = None) -> Recipe:
    """DPO's values for `policy` on so many pairs; method and rate follow SFT's."""
    return _settled(recommend_dpo(spec, sft, policy, pairs), policy, sft.bf16, threads, spec.num_train_epochs)


def for_reward_model(
    spec: RewardModelSpec, sft: SFTSpec, model: ModelRef, pairs: int, threads: int | None = None
) -> Recipe:
    """A reward model's values for starting from `model` on so many pairs."""
    method = reward_model_method(spec, sft)
    shape = shape_of(model)
    most = estimate.largest_micro_batch(shape, method, 2 * spec.max_length, memory(), sft.lora_rank)
    recommended = reward_model_recipe(spec, method, shape.parameters, pairs, max(1, most))
    return _settled(recommended, model, sft.bf16, threads, spec.num_train_epochs)


def reward_model_method(spec: RewardModelSpec, sft: SFTSpec) -> Method:
    """How a reward model is trained: as the spec says, else as SFT is, by all weights or by adapters."""
    return spec.method or ("full" if sft.method == "full" else "lora")


def recommend_sft(spec: SFTSpec, base: ModelRef, rows: int) -> Recommended:
    """SFT's values with their sources and reasons."""
    shape = shape_of(base)
    most = estimate.largest_micro_batch(
        shape, spec.method, spec.max_length, memory(), spec.lora_rank, spec.lora_targets
    )
    return sft_recipe(spec, shape.parameters, rows, max(1, most))


def recommend_dpo(spec: AlignSpec, sft: SFTSpec, policy: ModelRef, pairs: int) -> Recommended:
    """DPO's values with their sources and reasons; a pair is two rows in memory."""
    shape = shape_of(policy)
    most = estimate.largest_micro_batch(shape, sft.method, 2 * spec.max_length, memory(), sft.lora_rank)
    return align_recipe(spec, sft.method, shape.parameters, pairs, sft.learning_rate, max(1, most))


def shape_of(model: ModelRef) -> estimate.Shape:
    """The size of a model, from its `config.json` alone."""
    return estimate.shape_of(json.loads((Path(model.base) / "config.json").read_text(encoding="utf-8")))


def memory() -> int:
    """Bytes of the machine's memory; a control group's limit is not looked at."""
    return int(psutil.virtual_memory().total)


def thread_count(given: int | None = None) -> int:
    """What the spec says, otherwise the cores this process may use, at most eight."""
    return given or min(
        MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


@cache
def has_native_bf16() -> bool:
    """True on a GPU machine and on CPUs with bfloat16 instructions; elsewhere 16 bits are slower than 32."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    information = Path("/proc/cpuinfo")
    flags = information.read_text(encoding="utf-8", errors="replace") if information.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _settled(
    recommended: Recommended, model: ModelRef, bf16: bool | None, threads: int | None, epochs: float | None = None
) -> Recipe:
    values = recommended.values
    return Recipe(
        learning_rate=float(values["learning_rate"]),
        num_train_epochs=epochs or float(values["num_train_epochs"]),
        batch_size=int(values["batch_size"]),
        micro_batch_size=int(values["micro_batch_size"]),
        warmup_ratio=float(values["warmup_ratio"]),
        bf16=has_native_bf16() if bf16 is None else bf16,
        gradient_checkpointing=shape_of(model).parameters > CHECKPOINTED,
        threads=thread_count(threads),
    )
