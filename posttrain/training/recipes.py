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
from posttrain.models import hardware, shape
from posttrain.models.hardware import Devices, HardwarePlan
from posttrain.models.machine import these_devices
from posttrain.models.memory import RECOMPUTED, Numbers, Way, largest_micro_batch
from posttrain.models.recipe import Recipe as Recommended
from posttrain.models.recipe import align_recipe, reward_model_recipe, sft_recipe
from posttrain.spec.methods import Method
from posttrain.training.job import Recipe

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, ResourcesSpec, RewardModelSpec, SFTSpec

MOST_THREADS = 8
"""More threads than this slow a small model down."""


def for_sft(
    spec: SFTSpec, base: ModelRef, rows: int, threads: int | None = None, resources: ResourcesSpec | None = None
) -> Recipe:
    """SFT's values for `base` on `rows`; `resources` names devices and processes where they are not to be found out."""
    devices = devices_of(resources)
    planned = plan_sft(spec, base, rows, resources)
    settled = _settled(recommend_sft(spec, base, rows, resources), base, runs_in_bf16(spec.bf16, devices), threads)
    return settled.model_copy(
        update={
            "processes": planned.processes,
            "distribution": planned.distribution,
            "threads": max(1, settled.threads // planned.processes),
        }
    )


def for_dpo(spec: AlignSpec, sft: SFTSpec, policy: ModelRef, pairs: int, threads: int | None = None) -> Recipe:
    """DPO's values for `policy` on so many pairs; method and rate follow SFT's. One device trains."""
    bf16 = runs_in_bf16(sft.bf16, devices_of(None))
    return _settled(recommend_dpo(spec, sft, policy, pairs), policy, bf16, threads, spec.num_train_epochs)


def for_reward_model(
    spec: RewardModelSpec, sft: SFTSpec, model: ModelRef, pairs: int, threads: int | None = None
) -> Recipe:
    """A reward model's values for starting from `model` on so many pairs. One device trains."""
    bf16 = runs_in_bf16(sft.bf16, devices_of(None))
    return _settled(recommend_reward_model(spec, sft, model, pairs), model, bf16, threads, spec.num_train_epochs)


def reward_model_method(spec: RewardModelSpec, sft: SFTSpec) -> Method:
    """How a reward model is trained: as the spec says, else as SFT is, by all weights or by adapters."""
    return spec.method or ("full" if sft.method == "full" else "lora")


def recommend_sft(
    spec: SFTSpec,
    base: ModelRef,
    rows: int,
    resources: ResourcesSpec | None = None,
    devices: Devices | None = None,
    tokens_a_row: float | None = None,
) -> Recommended:
    """SFT's values with their sources and reasons; `devices` in place of those of the spec or the machine."""
    planned = plan_sft(spec, base, rows, resources, devices)
    return sft_recipe(
        spec,
        shape_of(base).parameters,
        rows,
        max(1, planned.largest_micro_batch),
        processes=planned.processes,
        tokens_a_row=tokens_a_row,
    )


def plan_sft(
    spec: SFTSpec, base: ModelRef, rows: int, resources: ResourcesSpec | None = None, devices: Devices | None = None
) -> HardwarePlan:
    """What the devices can carry of this SFT, and how. Raises: SpecError for a batch that has no equal parts."""
    found = devices or devices_of(resources)
    size = shape_of(base)
    processes = (resources.processes if resources else None) or (found.count if found.kind == "gpu" else 1)
    recipe = sft_recipe(spec, size.parameters, rows, processes=processes)
    work = hardware.Work(
        way=Way(spec.method, spec.lora_rank, spec.lora_targets),
        batch_size=int(recipe["batch_size"]),
        max_length=spec.max_length,
        bf16=runs_in_bf16(spec.bf16, found),
        micro_batch_size=int(recipe["micro_batch_size"]) if spec.micro_batch_size else None,
        processes=processes,
    )
    return hardware.plan(size, found, work)


def recommend_dpo(
    spec: AlignSpec, sft: SFTSpec, policy: ModelRef, pairs: int, devices: Devices | None = None
) -> Recommended:
    """DPO's values with their sources and reasons; a pair is two rows in memory."""
    size, found = shape_of(policy), devices or devices_of(None)
    numbers = numbers_of(sft, size, found, spec.max_length)
    way = Way(sft.method, sft.lora_rank, sft.lora_targets)
    most = largest_micro_batch(size, way, spec.max_length, found.memory_bytes, numbers) // 2
    return align_recipe(spec, sft.method, size.parameters, pairs, sft.learning_rate, max(1, most))


def recommend_reward_model(
    spec: RewardModelSpec, sft: SFTSpec, model: ModelRef, pairs: int, devices: Devices | None = None
) -> Recommended:
    """A reward model's values with their sources and reasons; a pair is two rows in memory."""
    method, size, found = reward_model_method(spec, sft), shape_of(model), devices or devices_of(None)
    numbers = reward_model_numbers(spec, sft, model, found)
    most = largest_micro_batch(size, Way(method, sft.lora_rank), spec.max_length, found.memory_bytes, numbers) // 2
    return reward_model_recipe(spec, method, size.parameters, pairs, max(1, most))


def reward_model_numbers(spec: RewardModelSpec, sft: SFTSpec, model: ModelRef, devices: Devices) -> Numbers:
    """How the devices hold the values of a reward model's training."""
    bf16 = runs_in_bf16(sft.bf16, devices)
    method = reward_model_method(spec, sft)
    return Numbers.of(devices.kind, method, bf16, spec.max_length, shape_of(model).parameters)


def shape_of(model: ModelRef) -> shape.Shape:
    """The size of a model, from its `config.json` alone."""
    return shape.shape_of(json.loads((Path(model.base) / "config.json").read_text(encoding="utf-8")))


def numbers_of(sft: SFTSpec, size: shape.Shape, devices: Devices, max_length: int | None = None) -> Numbers:
    """How the devices hold the values of a training by SFT's method; `max_length` is SFT's unless given."""
    bf16 = runs_in_bf16(sft.bf16, devices)
    return Numbers.of(devices.kind, sft.method, bf16, max_length or sft.max_length, size.parameters)


def devices_of(resources: ResourcesSpec | None) -> Devices:
    """The devices that the spec names, else those of this machine."""
    given, threads = (resources.devices, resources.threads) if resources else (None, None)
    return these_devices(thread_count(threads), memory(), given)


def memory() -> int:
    """Bytes of the machine's memory; a control group's limit is not looked at."""
    return int(psutil.virtual_memory().total)


def thread_count(given: int | None = None) -> int:
    """What the spec says, otherwise the cores this process may use, at most eight."""
    return given or min(
        MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def runs_in_bf16(given: bool | None, devices: Devices) -> bool:
    """What the spec says, else whether the devices compute in 16 bits as fast as they can."""
    return given if given is not None else devices.kind == "gpu" or has_native_bf16()


@cache
def has_native_bf16() -> bool:
    """True on a GPU machine and on CPUs with bfloat16 instructions; elsewhere 16 bits are slower than 32."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    information = Path("/proc/cpuinfo")
    flags = information.read_text(encoding="utf-8", errors="replace") if information.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _settled(
    recommended: Recommended, model: ModelRef, bf16: bool, threads: int | None, epochs: float | None = None
) -> Recipe:
    values = recommended.values
    return Recipe(
        learning_rate=float(values["learning_rate"]),
        num_train_epochs=epochs or float(values["num_train_epochs"]),
        batch_size=int(values["batch_size"]),
        micro_batch_size=int(values["micro_batch_size"]),
        warmup_ratio=float(values["warmup_ratio"]),
        bf16=bf16,
        gradient_checkpointing=shape_of(model).parameters > RECOMPUTED,
        threads=thread_count(threads),
    )
