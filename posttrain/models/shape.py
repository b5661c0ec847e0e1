"""How large a model is, from its `config.json`: its weights, its matrices, and what a method trains of them.

Knows no memory, no time and no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posttrain.errors import ModelError
from posttrain.spec.methods import Method

VIRTUAL_TOKENS = 20
"""Tokens that prefix, prompt and p-tuning put before a prompt, unless told otherwise (PEFT's own examples)."""


@dataclass(frozen=True)
class Shape:
    """What a `config.json` says about size. `parameters` counts every weight, `active` those that one token uses.

    `embedded` of them are embeddings and an untied head, which no quantisation touches.
    """

    parameters: int
    active: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    attention_width: int
    key_value_width: int
    heads: int
    embedded: int
    positions: int

    @property
    def layer_parameters(self) -> float:
        """Weights of one layer."""
        return (self.parameters - self.embedded) / self.layers


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Size of a decoder from its `config.json`: Llama-like (gated, grouped queries, experts) or GPT-2-like.

    Raises `ModelError` when the configuration does not say how large the model is.
    """
    text = config.get("text_config") or config
    hidden = _number(text, "hidden_size", "n_embd", "d_model")
    layers = _number(text, "num_hidden_layers", "n_layer", "num_layers")
    heads = _number(text, "num_attention_heads", "n_head", "num_heads")
    vocabulary = _number(text, "vocab_size")
    plain = "n_embd" in text
    width = int(text.get("head_dim") or hidden // heads) * heads
    pairs = width * int(text.get("num_key_value_heads") or heads) // heads
    attention = hidden * (2 * width + 2 * pairs)
    dense = int(text.get("intermediate_size") or text.get("n_inner") or 4 * hidden)
    experts, used = _experts(text)
    inner = int(text.get("moe_intermediate_size") or dense) if experts else dense
    one = (2 if plain else 3) * hidden * inner
    shared = 0 if text.get("tie_word_embeddings", plain) else vocabulary * hidden
    positions = _number(text, "n_positions", "n_ctx") * hidden if plain else 0
    embedded = vocabulary * hidden + shared + positions
    rest = embedded + hidden * (2 * layers + 1)
    return Shape(
        parameters=layers * (attention + max(1, experts) * one) + rest,
        active=layers * (attention + max(1, used) * one) + rest,
        layers=layers,
        hidden=hidden,
        intermediate=max(1, used) * inner,
        vocabulary=vocabulary,
        attention_width=width,
        key_value_width=pairs,
        heads=heads,
        embedded=embedded,
        positions=int(text.get("max_position_embeddings") or text.get("n_positions") or 2048),
    )


def _experts(text: Mapping[str, Any]) -> tuple[int, int]:
    """Experts of a layer, and how many a token uses; (0, 0) for a dense model."""
    count = text.get("num_experts") or text.get("num_local_experts") or text.get("n_routed_experts") or 0
    return int(count), int(text.get("num_experts_per_tok") or 0) if count else 0


def _number(text: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(text.get(name), int):
            return int(text[name])
    raise ModelError(f"config.json: found no {names[0]}, expected a decoder's configuration; name another base.model")


def trained_parameters(
    shape: Shape, method: Method, rank: int = 64, targets: str = "attention", virtual_tokens: int = VIRTUAL_TOKENS
) -> int:
    """Weights that get a gradient: all of them, rank × (in + out) for every adapted matrix, or virtual tokens.

    DoRA adds a magnitude for each output; IA3 scales keys, values and the inner activations; p-tuning trains an
    encoder of three square layers over its tokens (PEFT's).
    """
    if method == "full":
        return shape.parameters
    if method == "prefix":
        return virtual_tokens * shape.layers * 2 * shape.key_value_width
    if method == "prompt":
        return virtual_tokens * shape.hidden
    if method == "p-tuning":
        return virtual_tokens * shape.hidden + 3 * (shape.hidden + 1) * shape.hidden
    if method == "ia3":
        return shape.layers * (2 * shape.key_value_width + shape.intermediate)
    matrices = adapted(shape, targets)
    magnitudes = sum(outputs for _, outputs in matrices) if method == "dora" else 0
    return shape.layers * (sum(rank * (inputs + outputs) for inputs, outputs in matrices) + magnitudes)


def adapted(shape: Shape, targets: str) -> list[tuple[int, int]]:
    """(inputs, outputs) of a layer's matrices that get an adapter: query, key, value, output, and the gated block."""
    hidden, width, pairs, inner = shape.hidden, shape.attention_width, shape.key_value_width, shape.intermediate
    matrices = [(hidden, width), (hidden, pairs), (hidden, pairs), (width, hidden)]
    return [*matrices, (hidden, inner), (hidden, inner), (inner, hidden)] if targets == "all-linear" else matrices
