"""Sizes against published models, and estimates against what they must obey."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from posttrain.errors import ModelError
from posttrain.models import estimate as e
from posttrain.models.recipe import align_recipe, sft_recipe
from posttrain.spec import PipelineSpec, StrategySpec

TINY = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 704,
    "vocab_size": 4096,
    "tie_word_embeddings": True,
}
LLAMA2_7B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}
QWEN3_600M = {
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
QWEN3_30B_A3B = {
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}
GPT2 = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257}

LOAD = e.Load(
    rows=12_000,
    bytes_a_row=206,
    test_rows=700,
    method="full",
    epochs=3,
    micro_batch_size=32,
    max_length=512,
    baseline_rows=200,
    validation_rows=700,
    few_shot_examples=4,
    evaluation_batch=64,
    max_new_tokens=160,
    align_prompts=600,
    align_samples=8,
    align_micro_batch_size=16,
)
TWO_CORES = e.Machine.cpu(2, 8 * 2**30)


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
    assert e.shape_of(config).parameters == pytest.approx(published, rel=2e-3)


def test_a_token_uses_some_experts_only() -> None:
    assert e.shape_of(QWEN3_30B_A3B).active == pytest.approx(3.3e9, rel=0.02)


def test_a_configuration_that_does_not_say_its_size_is_refused() -> None:
    with pytest.raises(ModelError, match="found no hidden_size"):
        e.shape_of({"model_type": "bert-like"})


def test_lora_trains_about_half_a_per_cent() -> None:
    # Four attention matrices of 4096 × 4096 in 32 layers, each with rank 64 × (4096 + 4096).
    shape = e.shape_of(LLAMA2_7B)
    assert e.trained_parameters(shape, "lora", 64) == 32 * 4 * 64 * 8192
    assert 0.001 < e.trained_parameters(shape, "lora", 32) / shape.parameters < 0.01
    assert e.trained_parameters(shape, "lora", 64, "all-linear") > e.trained_parameters(shape, "lora", 64)
    assert e.trained_parameters(shape, "full") == shape.parameters


def test_full_training_keeps_sixteen_bytes_a_parameter() -> None:
    shape = e.shape_of(LLAMA2_7B)
    assert e.training_memory(shape, "full", 0, 512) == 16 * shape.parameters
    assert e.training_memory(shape, "lora", 0, 512) < 0.3 * 16 * shape.parameters


def test_the_largest_micro_batch_fits_and_one_more_does_not() -> None:
    shape, memory = e.shape_of(QWEN3_600M), 24 * 2**30
    most = e.largest_micro_batch(shape, "lora", 512, memory)
    assert most > 0
    assert e.training_memory(shape, "lora", most, 512) <= e.USABLE * memory
    assert e.training_memory(shape, "lora", most + 1, 512) > e.USABLE * memory
    assert e.largest_micro_batch(e.shape_of(LLAMA2_7B), "full", 512, memory) == 0


def test_training_time_matches_the_runs_it_was_fitted_to() -> None:
    # Measured on two threads: the tiny base saw 6.23M tokens in 1,046 s.
    seconds = e.training_seconds(e.shape_of(TINY), "full", 6.23e6, TWO_CORES)
    assert 1046 / 1.5 < seconds < 1046 * 1.5
    assert e.tokens(206.6, 4096) == pytest.approx(90, rel=0.1)  # bytes and tokens of an average SNIPS row


def test_stages_come_in_order_and_without_dpo_when_it_is_off() -> None:
    shape = e.shape_of(TINY)
    names = [stage.stage for stage in e.estimate(shape, TWO_CORES, LOAD)]
    assert names == ["validate", "curate", "baseline", "sft", "evaluate", "pairs", "dpo", "evaluate aligned", "test"]
    without = [stage.stage for stage in e.estimate(shape, TWO_CORES, replace(LOAD, align_prompts=0))]
    assert without == ["validate", "curate", "baseline", "sft", "evaluate", "test"]


def test_estimates_grow_with_the_work_and_shrink_with_the_machine() -> None:
    def sft(load: e.Load, machine: e.Machine = TWO_CORES) -> e.StageEstimate:
        return next(stage for stage in e.estimate(e.shape_of(TINY), machine, load) if stage.stage == "sft")

    base = sft(LOAD)
    work = base.seconds - e.SECONDS_TO_START
    assert sft(replace(LOAD, epochs=6)).seconds - e.SECONDS_TO_START == pytest.approx(2 * work)
    assert sft(LOAD, e.Machine.cpu(4, 2**33)).seconds - e.SECONDS_TO_START == pytest.approx(work / 2)
    assert sft(replace(LOAD, method="lora")).seconds < base.seconds
    assert sft(replace(LOAD, micro_batch_size=8)).memory_bytes < base.memory_bytes
    assert all(stage.seconds > 0 and stage.memory_bytes > 0 for stage in e.estimate(e.shape_of(TINY), TWO_CORES, LOAD))


def test_a_load_is_read_from_the_spec_and_its_recipes() -> None:
    spec = PipelineSpec.model_validate(
        {"name": "a", "task": {"kind": "text"}, "data": {"train": ["a"], "test": ["b"]}, "sft": {"num_train_epochs": 2}}
    )
    sft, dpo = sft_recipe(spec.sft, 4_262_144, 5_000), align_recipe(spec.align, "lora", 4_262_144, 600)
    load = e.Load.of(spec, sft, dpo, rows=5_000, test_rows=100, bytes_a_row=80)
    assert (load.method, load.epochs, load.micro_batch_size, load.align_prompts) == ("lora", 2, 32, 600)
    off = spec.model_copy(update={"strategy": StrategySpec(align="never")})
    assert e.Load.of(off, sft, dpo, 5_000, 100, 80).align_prompts == 0


def test_an_unknown_gpu_counts_as_a_slow_one() -> None:
    slow = e.Machine.gpu("Mystery 9000", 2**34)
    assert slow.operations < e.Machine.gpu("NVIDIA H100 80GB HBM3", 2**36).operations
    assert e.Machine.gpu("NVIDIA H100 80GB HBM3", 2**36, 4).memory_bytes == 4 * 2**36
