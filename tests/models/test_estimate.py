"""Sizes against published models, and estimates against what they must obey."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published_configs import TINY

from posttrain.models import estimate as e
from posttrain.models.recipe import align_recipe, sft_recipe
from posttrain.models.shape import shape_of
from posttrain.spec import PipelineSpec, StrategySpec

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


def test_training_time_matches_the_runs_it_was_fitted_to() -> None:
    # Measured on two threads: the tiny base saw 6.23M tokens in 1,046 s.
    seconds = e.training_seconds(shape_of(TINY), "full", 6.23e6, TWO_CORES)
    assert 1046 / 1.5 < seconds < 1046 * 1.5
    assert e.tokens(206.6, 4096) == pytest.approx(90, rel=0.1)  # bytes and tokens of an average SNIPS row


def test_stages_come_in_order_and_without_dpo_when_it_is_off() -> None:
    shape = shape_of(TINY)
    names = [stage.stage for stage in e.estimate(shape, TWO_CORES, LOAD)]
    assert names == ["validate", "curate", "baseline", "sft", "evaluate", "pairs", "dpo", "evaluate aligned", "test"]
    without = [stage.stage for stage in e.estimate(shape, TWO_CORES, replace(LOAD, align_prompts=0))]
    assert without == ["validate", "curate", "baseline", "sft", "evaluate", "test"]


def test_estimates_grow_with_the_work_and_shrink_with_the_machine() -> None:
    def sft(load: e.Load, machine: e.Machine = TWO_CORES) -> e.StageEstimate:
        return next(stage for stage in e.estimate(shape_of(TINY), machine, load) if stage.stage == "sft")

    base = sft(LOAD)
    work = base.seconds - e.SECONDS_TO_START
    assert sft(replace(LOAD, epochs=6)).seconds - e.SECONDS_TO_START == pytest.approx(2 * work)
    assert sft(LOAD, e.Machine.cpu(4, 2**33)).seconds - e.SECONDS_TO_START == pytest.approx(work / 2)
    assert sft(replace(LOAD, method="lora")).seconds < base.seconds
    assert sft(replace(LOAD, micro_batch_size=8)).memory_bytes < base.memory_bytes
    assert all(stage.seconds > 0 and stage.memory_bytes > 0 for stage in e.estimate(shape_of(TINY), TWO_CORES, LOAD))


def test_a_load_is_read_from_the_spec_and_its_recipes() -> None:
    spec = PipelineSpec.model_validate(
        {"name": "a", "task": {"kind": "text"}, "data": {"train": ["a"], "test": ["b"]}, "sft": {"num_train_epochs": 2}}
    )
    sft, dpo = sft_recipe(spec.sft, 4_262_144, 5_000), align_recipe(spec.align, "lora", 4_262_144, 600)
    load = e.Load.of(spec, sft, dpo, rows=5_000, test_rows=100, bytes_a_row=80)
    assert (load.method, load.epochs, load.micro_batch_size, load.align_prompts) == ("lora", 2, 32, 600)
    off = spec.model_copy(update={"strategy": StrategySpec(align="never")})
    assert e.Load.of(off, sft, dpo, 5_000, 100, 80).align_prompts == 0


def test_a_reward_model_reads_two_answers_a_pair() -> None:
    """SFT on 2,000 rows sees as many tokens as a reward model on 1,000 pairs whose lines hold prompt and two answers,
    each as long: 300 bytes a pair are two rows of 200."""
    shape = shape_of(TINY)
    pairs = e.PairsLoad(1_000, 300, "full", epochs=1, micro_batch_size=16, max_length=512)
    rows = replace(LOAD, rows=2_000, bytes_a_row=200, epochs=1)
    sft = next(stage for stage in e.estimate(shape, TWO_CORES, rows) if stage.stage == "sft")
    learnt = e.reward_model(shape, TWO_CORES, pairs)

    assert (learnt.stage, learnt.seconds) == ("reward-model", pytest.approx(sft.seconds))
    assert learnt.memory_bytes < sft.memory_bytes  # as many rows at once, and one score in place of a vocabulary
    assert e.reward_model(shape, TWO_CORES, replace(pairs, micro_batch_size=4)).memory_bytes < learnt.memory_bytes
    assert e.reward_model(shape, TWO_CORES, replace(pairs, method="lora")).seconds < learnt.seconds


def test_an_unknown_gpu_counts_as_a_slow_one() -> None:
    slow = e.Machine.gpu("Mystery 9000", 2**34)
    assert slow.operations < e.Machine.gpu("NVIDIA H100 80GB HBM3", 2**36).operations
    assert e.Machine.gpu("NVIDIA H100 80GB HBM3", 2**36, 4).memory_bytes == 4 * 2**36
