"""Recipe of SFT: rate, passes, warm-up, batch and adapter by model size, method and rows."""

from __future__ import annotations

import math

from posttrain.models.recipe.arithmetic import human, interpolated
from posttrain.models.recipe.batch import micro_batch
from posttrain.models.recipe.rates import rate_of, rate_warning, warmup_of
from posttrain.models.recipe.setting import Recipe, Setting, choose
from posttrain.spec.methods import LOW_RANK
from posttrain.spec.sections.sft import SFTSpec

EPOCHS: tuple[tuple[float, float], ...] = ((500, 10), (20_000, 5), (50_000, 4), (100_000, 3), (200_000, 2))
"""(rows, epochs): S2 gives 4–5 at 20k to 50k, 2–3 at 100k and "more" at a few hundred, read as ten."""

SFT_BATCHES: tuple[tuple[int, int], ...] = ((1_000, 8), (5_000, 16), (50_000, 32), (200_000, 64))
"""(fewer rows than, rows an update): some hundred updates even on little data."""


def sft_recipe(
    spec: SFTSpec,
    parameters: int,
    rows: int,
    largest_micro_batch: int | None = None,
    processes: int = 1,
    tokens_a_row: float | None = None,
) -> Recipe:
    """The values of an SFT of a model with `parameters` on `rows`; what the spec fills in wins, and is judged.

    `largest_micro_batch` is how many rows a device holds (`posttrain.models.memory`); None: all of its part of a
    batch. `processes` share every batch in equal parts, so a batch that is the recipe's becomes a multiple of them.
    `tokens_a_row`, where it is known, says how many tokens an update reads.
    """
    rate = choose("learning_rate", spec.learning_rate, *rate_of(spec.method, parameters), warn=rate_warning)
    epochs = choose("num_train_epochs", spec.num_train_epochs, *_epochs(rows), warn=epochs_warning)
    warmup = choose("warmup_ratio", spec.warmup_ratio, *warmup_of(float(rate.value)), warn=_warmup_warning)
    batch = choose("batch_size", spec.batch_size, *_batch(rows, processes, tokens_a_row))
    micro = micro_batch(spec.micro_batch_size, int(batch.value), largest_micro_batch, processes)
    adapters = _adapters(spec) if spec.method in LOW_RANK else ()
    return Recipe(settings=(rate, epochs, warmup, batch, *micro, *adapters))


def _epochs(rows: int) -> tuple[float, str, str]:
    value = interpolated([(math.log(n), e) for n, e in EPOCHS], math.log(max(rows, 1)))
    few, many = EPOCHS[0][1], EPOCHS[-1][1]
    return float(round(min(few, max(many, value)))), "S2", f"{rows:,} rows; fewer rows need more passes"


def _batch(rows: int, processes: int = 1, tokens_a_row: float | None = None) -> tuple[int, str, str]:
    size = next((size for below, size in SFT_BATCHES if rows < below), 128)
    shared = math.ceil(size / processes) * processes
    more = f" of about {human(shared * tokens_a_row)} tokens" if tokens_a_row else ""
    more += f", {size} made a multiple of {processes} processes" if shared != size else ""
    return shared, "this project", f"{rows:,} rows give {math.ceil(rows / shared):,} updates an epoch{more}"


def _adapters(spec: SFTSpec) -> tuple[Setting, ...]:
    reasons = {
        "lora_rank": "about 0.5 % of the weights, about 95 % of full quality",
        "lora_alpha": "adapters are scaled by alpha / rank",
        "lora_targets": "attention alone is the cheap choice; all-linear learns more",
    }
    return tuple(
        choose(name, getattr(spec, name) if name in spec.model_fields_set else None, default, "S3", reasons[name])
        for name, default in (("lora_rank", 64), ("lora_alpha", 16), ("lora_targets", "attention"))
    )


def epochs_warning(given: float, suggested: float) -> str:
    """What the sources say of more passes than suggested."""
    if given > 2 * suggested:
        return f"num_train_epochs {given:g} is over twice the recommended {suggested:g}: too many epochs forget (S2)"
    return ""


def _warmup_warning(given: float, suggested: float) -> str:
    return f"warmup_ratio {given:g}: SFT warms up for less than pre-training's 0.015 (S2)" if given > 0.1 else ""
