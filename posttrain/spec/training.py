"""What a spec says of training that cannot all be meant. Knows the spec only."""

from __future__ import annotations

from collections.abc import Iterator

from posttrain.spec.document import Place
from posttrain.spec.methods import OWN, foreign_settings, merges
from posttrain.spec.sections.pipeline import PipelineSpec


def mistaken_training(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """Settings of another method, and things that the method cannot do."""
    sft, method = spec.sft, spec.sft.method
    if sft.optimizer == "muon" and method != "full":
        yield ("sft", "optimizer"), f"muon is for method: full, found method: {method}; use optimizer: adamw"
    for name in foreign_settings(method):
        if name in sft.model_fields_set:
            yield ("sft", name), f"is of method {_either(OWN[name])}, found method: {method}; remove it"
    if method == "prefix" and sft.encoder_hidden_size is not None and not sft.prefix_projection:
        yield ("sft", "encoder_hidden_size"), "is of prefix_projection, which is off; switch it on or remove this"
    if method == "prefix" and sft.gradient_checkpointing:
        yield (
            ("sft", "gradient_checkpointing"),
            "a prefix is a cache of keys and values, which layers that are computed twice do not have; remove this, or "
            "use method: prompt",
        )
    if not merges(method):
        yield from _virtual_tokens(spec)


def _virtual_tokens(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """What virtual tokens, which are no part of the weights, stand in the way of."""
    found = f"found method: {spec.sft.method}, whose virtual tokens cannot be merged"
    if spec.strategy.align != "never":
        yield (
            ("sft", "method"),
            f"{found} into the model that DPO would start from; set strategy.align: never, or use method: lora",
        )
    for name in ("packing", "padding_free"):
        if getattr(spec.sft, name):
            yield (
                ("sft", name),
                f"found method: {spec.sft.method}, whose virtual tokens go before each row, and rows one behind the "
                "other have them only once; remove it, or use method: lora",
            )
    if spec.evaluate.engine == "vllm":
        yield ("evaluate", "engine"), f"{found} into weights for vllm; set evaluate.engine: auto"


def _either(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
