"""PPO, GRPO and RLOO by name: in the spec, in the recipe, in estimates, in decisions and on the chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.errors import SpecError
from posttrain.evaluation.scores import Gain, Score, Scores
from posttrain.models import estimate
from posttrain.models.recipe import align_recipe, sft_recipe
from posttrain.models.shape import shape_of
from posttrain.report.flowchart import LEADS_TO, asked_at
from posttrain.spec import AlignSpec, PipelineSpec, load
from posttrain.spec.sections.online import OnlineSpec
from posttrain.strategy import Evidence, Limits, decide

SEVEN_BILLION = 7_000_000_000
S3 = ((0.2, 0.08), (0.6, 0.05), (0.2, 0.06))


def ppo(**online: Any) -> AlignSpec:
    return AlignSpec(method="ppo", online=OnlineSpec(**online))


def test_the_defaults_are_those_of_s3() -> None:
    online = OnlineSpec()
    assert (online.clip_range, online.value_clip_range, online.kl_coef) == (0.2, 0.2, 0.05)
    assert (online.kl_schedule, online.max_grad_norm) == (S3, 0.5)
    assert (online.mini_batch_size, online.ppo_epochs) == (16, 4)
    assert (online.temperature, online.top_p) == (0.7, 0.9)
    assert (online.length_penalty, online.repetition_penalty) == (0.1, 1.2)


def test_the_rate_is_a_tenth_of_sfts_and_one_millionth_at_seven_billion() -> None:
    recipe = align_recipe(ppo(), "full", SEVEN_BILLION, 600)

    assert recipe["learning_rate"] == 1e-6
    assert (recipe["batch_size"], recipe["ppo_epochs"]) == (16, 4)
    assert recipe["kl_schedule"] == "20%: 0.08, 60%: 0.05, 20%: 0.06"
    assert align_recipe(AlignSpec(method="grpo"), "full", SEVEN_BILLION, 600)["batch_size"] == 64
    assert not recipe.warnings


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ppo(kl_controller="fixed", kl_coef=0.01), "run away"),
        (ppo(kl_schedule=((1.0, 0.2),)), "learns nothing"),
        (AlignSpec(method="rloo", online=OnlineSpec(kl_coef=0.0)), "run away"),
        (AlignSpec(method="ppo", learning_rate=1e-5), "10 to 20 times below SFT"),
    ],
)
def test_what_s3_calls_dangerous_is_warned_of(spec: AlignSpec, words: str) -> None:
    (warning,) = align_recipe(spec, "full", SEVEN_BILLION, 600).warnings
    assert words in warning


def test_shares_of_the_schedule_must_add_up_and_batches_divide() -> None:
    with pytest.raises(ValueError, match=r"shares add up to 0\.8, expected 1"):
        OnlineSpec(kl_schedule=((0.2, 0.08), (0.6, 0.05)))
    with pytest.raises(ValueError, match="mini_batch_size 24 does not divide rollout_batch_size 64"):
        OnlineSpec(mini_batch_size=24)


SPEC = "name: small\ntask: {kind: %s}\ndata: {train: a.jsonl, test: b.jsonl}\n%s"


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("chat", "align: {method: ppo}\n", r"align\.method: .*no data\.preference to learn one from; give pairs"),
        (
            "intent_slots",
            "align: {method: ppo}\nrewards: {signals: [{name: preference, weight: 1}]}\n",
            r"no data\.preference",
        ),
        ("intent_slots", "align: {method: grpo, samples: 5}\n", r"found 64, which align\.samples 5 does not divide"),
    ],
)
def test_rewards_that_nobody_could_give_are_refused_at_once(tmp_path: Path, kind: str, text: str, said: str) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC % (kind, text), encoding="utf-8")
    with pytest.raises(SpecError, match=said):
        load(tmp_path / "spec.yaml", tmp_path)


@pytest.mark.parametrize("method", ["ppo", "grpo", "rloo"])
def test_its_stage_stands_in_the_estimate_where_pairs_and_dpo_stood(method: str) -> None:
    spec = PipelineSpec.model_validate(
        {"name": "a", "task": {"kind": "text"}, "data": {"train": ["a"], "test": ["b"]}, "align": {"method": method}}
    )
    config = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 512}
    machine = estimate.Machine.cpu(2, 2**33)
    recipes = sft_recipe(spec.sft, 10**6, 1000), align_recipe(spec.align, "lora", 10**6, 600)
    found = estimate.estimate(shape_of(config), machine, estimate.Load.of(spec, *recipes, 1000, 100, 80))

    assert [stage.stage for stage in found][5:] == [method, "evaluate aligned", "merge", "test"]
    assert found[5].seconds > 0


def scores(f1: float) -> Scores:
    return Scores(
        model=ModelRef(base="x", fingerprint="x"), split="validation", prompting="zero-shot", rows=200,
        metrics={"slot_f1": Score(value=f1, low=f1 - 0.02, high=f1 + 0.02)},
        outputs=DatasetRef(uri="x", fingerprint="x", rows=200), seconds=1.0,
    )  # fmt: skip


def test_decisions_say_the_methods_name() -> None:
    given: dict[str, Any] = {
        "step": "after_sft", "kind": "intent_slots", "targets": {"slot_f1": 0.8}, "usable_rows": 5000,
        "zero_shot": scores(0.1), "after_sft": scores(0.6), "align_method": "ppo",
        "gain": Gain(value=0.5, low=0.4, high=0.6, p_value=0.001, detectable=0.05, rows=200),
    }  # fmt: skip
    decision = decide(Evidence(**given))

    assert (decision.action, decision.meaning) == ("align", "PPO on top of SFT")
    assert "align it by preference (PPO)" in decision.reasons[-1]
    last = decision.path[-1].question
    assert last == "Is PPO within the limits?"
    assert asked_at(decision.aligner)[last] == "dpo_limits"
    assert LEADS_TO["after_sft", "align"] == "dpo"
    dear = decide(Evidence(**given, seconds={"sft": 60, "align": 7200}, limits=Limits(max_minutes=10)))
    assert "SFT and PPO together should take" in dear.reasons[-1]
