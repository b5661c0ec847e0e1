"""Sizes against published models; memory against what can be counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from published_configs import GPT2, LLAMA2_7B, QWEN3_30B_A3B, QWEN3_600M, TINY

from posttrain.errors import ModelError
from posttrain.models.memory import (
    USABLE,
    Numbers,
    Way,
    bucket_bytes,
    fixed_bytes,
    kept_bytes,
    kernel_bytes,
    largest_micro_batch,
    training_memory,
)
from posttrain.models.shape import shape_of, trained_parameters

FULL, LORA = Way("full"), Way("lora")


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (LLAMA2_7B, 6_738_415_616),
        (QWEN3_600M, 596_049_920),
        (QWEN3_30B_A3B, 30.5e9),
        (GPT2, 124_439_808),
        ({"text_config": LLAMA2_7B}, 6_738_415_616),
    ],
)
def test_parameters_are_those_of_the_published_models(config: dict[str, Any], published: float) -> None:
    assert shape_of(config).parameters == pytest.approx(published, rel=2e-3)


def test_a_token_uses_some_experts_only() -> None:
    assert shape_of(QWEN3_30B_A3B).active == pytest.approx(3.3e9, rel=0.02)


def test_a_configuration_that_does_not_say_its_size_is_refused() -> None:
    with pytest.raises(ModelError, match="found no hidden_size"):
        shape_of({"model_type": "bert-like"})


def test_what_each_method_trains() -> None:
    # Four attention matrices of 4096 × 4096 in 32 layers, each with rank 64 × (4096 + 4096).
    shape = shape_of(LLAMA2_7B)
    lora = 32 * 4 * 64 * 8192
    assert trained_parameters(shape, "lora", 64) == trained_parameters(shape, "qlora", 64) == lora
    assert 0.001 < trained_parameters(shape, "lora", 32) / shape.parameters < 0.01
    assert trained_parameters(shape, "dora", 64) == lora + 32 * 4 * 4096  # a magnitude for each output
    assert trained_parameters(shape, "lora", 64, "all-linear") == lora + 32 * 3 * 64 * (4096 + 11008)
    assert trained_parameters(shape, "full") == shape.parameters
    assert trained_parameters(shape, "prompt", virtual_tokens=10) == 10 * 4096
    assert trained_parameters(shape, "prefix", virtual_tokens=10) == 10 * 32 * 2 * 4096
    assert trained_parameters(shape, "ia3") == 32 * (4096 + 4096 + 11008)


def test_full_training_keeps_sixteen_bytes_a_parameter() -> None:
    shape = shape_of(LLAMA2_7B)
    assert fixed_bytes(shape, FULL, Numbers()) == 16 * shape.parameters
    assert bucket_bytes(shape, FULL) == 4 * shape.parameters


def test_adapters_hold_a_frozen_base_in_as_many_bits_as_they_may() -> None:
    shape = shape_of(LLAMA2_7B)
    own = 16 * 32 * 4 * 64 * 8192
    assert fixed_bytes(shape, LORA, Numbers(frozen=2, embedded=2)) == 2 * shape.parameters + own
    four = Numbers.of("gpu", "qlora", True, 512, shape.parameters)
    embedded = 2 * 32_000 * 4096  # input and output embeddings stay in 16 bits
    expected = 0.516 * (shape.parameters - embedded) + 2 * embedded + own
    assert fixed_bytes(shape, Way("qlora"), four) == pytest.approx(expected)


def test_shards_share_all_but_the_layers_in_use() -> None:
    shape = shape_of(LLAMA2_7B)
    alone, shared = fixed_bytes(shape, FULL, Numbers()), fixed_bytes(shape, FULL, Numbers(), shards=4)
    assert alone / 4 < shared < alone / 2


def test_a_layer_keeps_what_can_be_counted() -> None:
    # One layer, one row of 8 tokens: hidden 256, as wide attention of 4 heads, inner width 704, in 32 bits.
    shape = shape_of({**TINY, "num_hidden_layers": 1})
    values = 6 * 256 + 4 * 256 + 4 * 704 + 4 * 8
    assert kept_bytes(shape, FULL, 8, Numbers()) == 8 * 4 * values
    fused = Numbers(matrices=False)
    assert kept_bytes(shape, FULL, 8, fused) == 8 * 4 * (values - 4 * 8)


def test_on_a_cpu_the_heap_holds_more_than_is_kept() -> None:
    shape = shape_of(TINY)
    ours, plain = (kept_bytes(shape, FULL, 128, each) for each in (Numbers.of("cpu", "full", False, 512, 4), Numbers()))
    assert ours == pytest.approx(1.6 * plain)
    halves = kept_bytes(shape, FULL, 128, Numbers.of("cpu", "full", True, 512, 4))
    assert plain < halves < ours


def test_in_16_bits_a_cpu_keeps_kernels_for_the_widths_it_has_met() -> None:
    shape = shape_of(TINY)
    halves, plain = (Numbers.of("cpu", "full", on, 512, 4) for on in (True, False))
    assert kernel_bytes(plain) == kernel_bytes(Numbers.of("gpu", "full", True, 512, 4)) == 0
    assert kernel_bytes(halves, 15) == kernel_bytes(halves) / 2 == kernel_bytes(halves, 1000) / 2
    cast = 2 * shape.parameters - 2 * (9 * 256)  # all but the norms, once more in 16 bits
    assert fixed_bytes(shape, FULL, halves) == pytest.approx(
        16 * shape.parameters + cast + kernel_bytes(halves), rel=1e-3
    )


def test_recomputing_keeps_a_fraction() -> None:
    shape = shape_of(LLAMA2_7B)
    kept, recomputed = (kept_bytes(shape, FULL, 512, Numbers(matrices=False, recomputed=on)) for on in (False, True))
    assert recomputed < 0.15 * kept


def test_the_largest_micro_batch_fits_and_one_more_does_not() -> None:
    shape, memory = shape_of(QWEN3_600M), 24 * 2**30
    most = largest_micro_batch(shape, LORA, 512, memory)
    assert most > 0
    assert training_memory(shape, LORA, most, 512) <= USABLE * memory
    assert training_memory(shape, LORA, most + 1, 512) > USABLE * memory
    assert largest_micro_batch(shape_of(LLAMA2_7B), FULL, 512, memory) == 0


def test_without_accumulation_gradients_take_the_place_of_activations() -> None:
    shape = shape_of(TINY)
    held, one_by_one = (training_memory(shape, FULL, 8, 128, accumulates=on) for on in (True, False))
    assert held - one_by_one == 4 * (shape.parameters - 4096 * 256)
