"""The recipe's figures against their sources, and its judgement of the spec's own values."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from posttrain.models.recipe import Recipe, align_recipe, full_rate, lora_rate, sft_recipe, updates
from posttrain.spec import AlignSpec, SFTSpec
from posttrain.spec.methods import Method


@pytest.mark.parametrize(("parameters", "rate"), [(7e9, 1e-5), (13e9, 5.4e-6), (70e9, 1e-6)])
def test_full_parameter_rates_are_those_of_s3(parameters: float, rate: float) -> None:
    assert full_rate(parameters) == rate


def test_between_the_known_sizes_the_rate_is_log_log() -> None:
    # Half-way between ln 13e9 and ln 70e9 lies their geometric mean, 30.17e9; the rate there is the geometric
    # mean of 5.4e-6 and 1e-6: sqrt(5.4) = 2.32, so 2.3e-6 with two digits.
    assert full_rate((13e9 * 70e9) ** 0.5) == 2.3e-6


def test_the_rate_falls_with_size_and_is_capped_for_small_models() -> None:
    rates = [full_rate(10**power) for power in range(5, 13)]
    assert all(left >= right for left, right in pairwise(rates))
    assert rates[0] == full_rate(4_262_144) == 1e-3


@pytest.mark.parametrize("parameters", [7e9, 13e9, 70e9])
def test_lora_rates_are_twenty_times_higher(parameters: float) -> None:
    assert lora_rate(parameters) == pytest.approx(20 * full_rate(parameters), rel=0.02)


def test_a_recipe_says_which_rate_it_is() -> None:
    full = sft_recipe(SFTSpec(method="full"), 7_000_000_000, 30_000).settings[0]
    lora = sft_recipe(SFTSpec(method="lora"), 7_000_000_000, 30_000).settings[0]
    assert (full.value, lora.value) == (1e-5, 2e-4)
    assert "full-parameter rate for 7B" in full.reason
    assert full.source == "S3"
    assert "LoRA rate for 7B" in lora.reason
    assert "capped" in sft_recipe(SFTSpec(), 4_300_000, 30_000).settings[0].reason


@pytest.mark.parametrize(
    ("method", "parameters", "rate"),
    [("ia3", 7e9, 3e-3), ("dora", 7e9, 2e-4), ("qlora", 7e9, 2e-4), ("prompt", 560e6, 3e-2), ("prefix", 70e9, 1e-3),
     ("p-tuning", (560e6 * 3e9) ** 0.5, (3e-2 * 1e-3) ** 0.5)],
)  # fmt: skip
def test_every_method_has_a_rate(method: Any, parameters: float, rate: float) -> None:
    recipe = sft_recipe(SFTSpec(method=method), int(parameters), 30_000)
    assert recipe["learning_rate"] == pytest.approx(rate, rel=0.02)
    assert ("lora_rank" in recipe.values) == (method in ("dora", "qlora"))


@pytest.mark.parametrize(
    ("rows", "low", "high"), [(100_000, 2, 3), (1_000_000, 2, 2), (20_000, 4, 5), (50_000, 4, 5), (300, 10, 10)]
)
def test_epochs_are_those_of_s2(rows: int, low: float, high: float) -> None:
    assert low <= float(sft_recipe(SFTSpec(), 7_000_000_000, rows)["num_train_epochs"]) <= high


def test_warm_up_is_shorter_than_pre_trainings_and_grows_with_the_rate() -> None:
    shares = [float(sft_recipe(SFTSpec(learning_rate=rate), 10**9, 9)["warmup_ratio"]) for rate in (1e-6, 1e-5, 1e-3)]
    assert shares == sorted(set(shares))
    assert shares[-1] < 0.01


def test_micro_batch_times_accumulation_is_the_batch() -> None:
    for batch in (1, 7, 12, 32, 48):
        for largest in (1, 2, 5, 8, 100):
            recipe = sft_recipe(SFTSpec(batch_size=batch), 10**9, 10_000, largest)
            assert int(recipe["micro_batch_size"]) * int(recipe["accumulation"]) == batch
            assert int(recipe["micro_batch_size"]) <= largest
    assert sft_recipe(SFTSpec(batch_size=32, micro_batch_size=12), 10**9, 10_000)["micro_batch_size"] == 8


def test_the_specs_values_win_and_are_marked() -> None:
    recipe = sft_recipe(SFTSpec(learning_rate=2e-5, num_train_epochs=1, lora_rank=8), 7_000_000_000, 10_000)
    settings = {setting.name: setting for setting in recipe.settings}
    assert recipe["learning_rate"] == 2e-5
    assert settings["learning_rate"].recommended == 2e-4
    assert {name for name, setting in settings.items() if setting.overridden} == {
        "learning_rate",
        "num_train_epochs",
        "lora_rank",
    }
    assert recipe.warnings == ()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SFTSpec(method="full", learning_rate=2e-4), "20 × the recommended 1e-05"),
        (SFTSpec(method="full", learning_rate=1e-8), "expect little to be learnt"),
        (SFTSpec(num_train_epochs=50), "too many epochs forget"),
        (SFTSpec(warmup_ratio=0.3), "SFT warms up for less"),
    ],
)
def test_dangerous_values_of_sft_are_warned_of(spec: SFTSpec, words: str) -> None:
    (warning,) = sft_recipe(spec, 7_000_000_000, 20_000).warnings
    assert words in warning


def test_dpo_runs_ten_to_twenty_times_below_sft() -> None:
    for method, parameters in (("full", 7_000_000_000), ("lora", 7_000_000_000), ("full", 4_300_000)):
        sft = float(sft_recipe(SFTSpec(method=method), parameters, 10_000)["learning_rate"])
        dpo = float(align_recipe(AlignSpec(), method, parameters, 500)["learning_rate"])
        assert 10 <= sft / dpo <= 20.001
    assert align_recipe(AlignSpec(), "full", 7_000_000_000, 500, sft_rate=2e-5)["learning_rate"] == 1e-6


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (AlignSpec(learning_rate=1e-5), "10 to 20 times below SFT"),
        (AlignSpec(beta=0.001), "may run away"),
        (AlignSpec(beta=3), "learns little"),
        (AlignSpec(num_train_epochs=5), "too many epochs forget"),
    ],
)
def test_dangerous_values_of_dpo_are_warned_of(spec: AlignSpec, words: str) -> None:
    (warning,) = align_recipe(spec, "full", 7_000_000_000, 500).warnings
    assert words in warning


@pytest.mark.parametrize(
    ("method", "rate"),
    [("dora", 2e-4), ("qlora", 2e-4), ("ia3", 3e-3), ("prefix", 1e-3), ("prompt", 1e-3), ("p-tuning", 1e-3)],
)
def test_each_way_of_training_has_a_rate_with_a_source(method: Method, rate: float) -> None:
    recipe = sft_recipe(SFTSpec().model_copy(update={"method": method}), 7_000_000_000, 10_000)
    setting = recipe.settings[0]
    assert setting.value == rate
    assert setting.source
    assert ("lora_rank" in recipe.values) == (method in ("dora", "qlora"))


@pytest.mark.parametrize(
    ("method", "rate", "source"),
    [("dpo", 5e-7, "Zephyr"), ("ipo", 5e-7, "S3"), ("kto", 5e-7, "KTO"), ("orpo", 8e-6, "ORPO")],
)
def test_each_way_of_aligning_has_a_rate_with_a_source(method: str, rate: float, source: str) -> None:
    spec = AlignSpec().model_copy(update={"method": method})
    recipe = align_recipe(spec, "full", 7_000_000_000, 500)
    assert recipe["learning_rate"] == rate
    assert source in recipe.settings[0].source
    assert recipe["beta"] == 0.1


def test_a_small_beta_is_dangerous_only_where_it_holds_to_a_reference() -> None:
    low = AlignSpec(beta=0.001)
    assert align_recipe(low, "full", 7_000_000_000, 500).warnings
    assert not align_recipe(low.model_copy(update={"method": "orpo"}), "full", 7_000_000_000, 500).warnings


def test_the_tokens_of_an_update_are_told_where_they_are_known() -> None:
    batch = sft_recipe(SFTSpec(), 10**9, 10_000, tokens_a_row=250).settings[3]
    assert batch.value == 32
    assert batch.reason == "10,000 rows give 313 updates an epoch of about 8k tokens"


def test_processes_share_a_batch_in_equal_parts() -> None:
    recipe = sft_recipe(SFTSpec(), 10**9, 10_000, largest_micro_batch=5, processes=3)
    # 32 rows become 33, so 11 each, whose only divisor up to 5 is 1.
    assert (recipe["batch_size"], recipe["micro_batch_size"], recipe["accumulation"]) == (33, 1, 11)
    assert "made a multiple of 3 processes" in recipe.settings[3].reason
    assert sft_recipe(SFTSpec(batch_size=32), 10**9, 9, 100, processes=4)["micro_batch_size"] == 8


def test_a_recipe_survives_json() -> None:
    recipe = sft_recipe(SFTSpec(lora_targets="all-linear"), 7_000_000_000, 10_000)
    assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe


def test_updates_count_the_last_smaller_batch() -> None:
    assert updates(rows=100, epochs=3, batch_size=32) == 12  # 4 an epoch
    assert updates(rows=100, epochs=0.5, batch_size=32) == 2
    assert updates(rows=1, epochs=0.01, batch_size=32) == 1
