"""The ways to fine-tune: what each trains, and which settings of `sft` are its own.

Imports nothing, so that spec, recipe and training ask the same table.
"""

from __future__ import annotations

from typing import Literal

Method = Literal["full", "lora", "dora", "qlora", "prefix", "prompt", "p-tuning", "ia3"]

LOW_RANK: tuple[Method, ...] = ("lora", "dora", "qlora")
PROMPT_LEARNING: tuple[Method, ...] = ("prefix", "prompt", "p-tuning")
"""Virtual tokens before every prompt; the base's weights stay as they are, so there is nothing to merge into them."""

OWN: dict[str, tuple[Method, ...]] = {
    "lora_rank": LOW_RANK,
    "lora_alpha": LOW_RANK,
    "lora_targets": LOW_RANK,
    "lora_dropout": LOW_RANK,
    "num_virtual_tokens": PROMPT_LEARNING,
    "prefix_projection": ("prefix",),
    "prompt_tuning_init_text": ("prompt",),
    "encoder_hidden_size": ("prefix", "p-tuning"),
}
"""Setting -> the methods that it is of. Settings of `sft` that are not named here are of every method."""


def is_adapter(method: Method) -> bool:
    """Whether the base's weights are frozen and something small beside them is trained."""
    return method != "full"


def merges(method: Method) -> bool:
    """Whether what was trained can be added into the base's weights, so that one plain model is left."""
    return method not in PROMPT_LEARNING


def own_settings(method: Method) -> tuple[str, ...]:
    """The settings that are of this method and not of all."""
    return tuple(name for name, methods in OWN.items() if method in methods)


def foreign_settings(method: Method) -> tuple[str, ...]:
    """The settings that are of other methods only."""
    return tuple(name for name, methods in OWN.items() if method not in methods)
