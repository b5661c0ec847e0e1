"""A reward model: trained, measured on prompts that it has not seen, gated, used, and resumed after a kill."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posttrain.artifacts import DatasetRef, ModelRef, Workspace, file_digest
from posttrain.data.steps.scoring import rewards
from posttrain.errors import DataError, ModelError, StageCrashed
from posttrain.evaluation.judge import Comparison
from posttrain.evaluation.judge_reward import prefers
from posttrain.evaluation.scores import Score
from posttrain.models.recipe import full_rate, lora_rate
from posttrain.spec import RewardModelSpec, RewardTerm, SFTSpec
from posttrain.training import recipes, reward_model
from posttrain.training.held_out import judge, split
from posttrain.training.job import Recipe
from posttrain.training.recalibrate import ReviewedPair, recalibrate
from posttrain.training.reward_model import RewardModelResult, check_size
from posttrain.training.rewards import functions
from posttrain.training.rows import read

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

RECIPE = Recipe(learning_rate=3e-3, num_train_epochs=2, batch_size=8, micro_batch_size=8, threads=1)
SPEC = RewardModelSpec(method="full", num_train_epochs=4, max_length=128)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, data: Any) -> DatasetRef:
    """48 prompts whose right JSON is preferred to one of nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wrong = json.dumps({"intent": "Nothing", "slots": {}})
    made = [
        {"id": row["id"], "system": "", "prompt": row["prompt"], "chosen": row["completion"], "rejected": wrong}
        for row in read(data(48))
    ]
    path = tmp_path_factory.mktemp("preferences") / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(made), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(made))


@pytest.fixture(scope="module")
def trained(base: ModelRef, pairs: DatasetRef, tmp_path_factory: pytest.TempPathFactory) -> RewardModelResult:
    return reward_model.train(
        base, pairs, SPEC, SFTSpec(), RECIPE, Workspace(tmp_path_factory.mktemp("undisturbed"))
    ).result


def test_it_tells_the_better_answer_to_prompts_that_it_has_not_seen(trained: RewardModelResult) -> None:
    assert trained.pairs_held_out == trained.prompts_held_out == 10  # a fifth of 48, rounded up
    assert trained.rows == 38
    assert trained.accuracy.value == 1
    assert trained.verdict.passed
    assert "10 held-out pairs of 10 prompts" in trained.verdict.summary
    assert trained.bias.position_flips == 0
    assert trained.calibration.temperature < 1, "always right and never sure: it may be surer"
    assert trained.metrics["accuracy"] == 1


def test_its_scores_are_kept_with_their_pairs(trained: RewardModelResult) -> None:
    rows = read(trained.scores)
    assert len(rows) == trained.scores.rows == 10
    assert all(row["chosen_score"] > row["rejected_score"] for row in rows)
    scale = json.loads((Path(trained.model.base) / "scale.json").read_text())
    assert (scale["mean"], scale["std"]) == (trained.mean, trained.std)


def test_it_judges_and_rewards_alike(trained: RewardModelResult) -> None:
    """The judge of evaluation reads the same folder; the signal is the score in standard deviations, over three."""
    row, folder = read(trained.scores)[0], Path(trained.model.base)
    (found,) = prefers(folder, [Comparison("", row["prompt"], row["chosen"], row["rejected"])], 128)
    assert found.value == 1

    (preference,), _ = functions([RewardTerm(name="preference", weight=1)], "text", trained.reward_model)
    turns = [{"role": "user", "content": row["prompt"]}]
    answers = [row["chosen"], row["rejected"]]
    signals = preference([row["prompt"]] * 2, answers)
    raw = rewards(folder, [("", row["prompt"], answer) for answer in answers], 128)[:, 0]
    assert signals == pytest.approx((np.clip((raw - trained.mean) / trained.std, -3, 3) / 3).tolist())
    assert preference([turns] * 2, [[{"role": "assistant", "content": answer}] for answer in answers]) == signals
    assert preference(["<|rendered|>"] * 2, answers, question=[row["prompt"]] * 2) == signals
    instructed = preference([row["prompt"]], answers[:1], system=["Be brief."])
    with_turns = preference([[{"role": "system", "content": "Be brief."}, *turns]], answers[:1])
    assert instructed == with_turns
    assert instructed != signals[:1]


def test_adapters_are_merged_into_what_is_saved(base: ModelRef, pairs: DatasetRef, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"method": None, "num_train_epochs": 6, "min_accuracy": 0.95})
    job = reward_model.resolve(base, pairs, spec, SFTSpec(method="lora", lora_rank=8, lora_alpha=16), RECIPE)

    result = reward_model.run(job.model_copy(update={"partial": str(tmp_path), "final": str(tmp_path)}))

    assert (job.method, result.model.adapter) == ("lora", None)
    assert sorted(path.suffix for path in (tmp_path / "model").iterdir() if path.suffix == ".safetensors")
    assert result.accuracy.value > 0.8
    assert not result.verdict.passed, "ten pairs cannot show 0.95"
    with pytest.raises(ModelError, match="refused by its gate"):
        functions([RewardTerm(name="preference", weight=1)], "text", result.reward_model)


# Puts a fault into the training process: it dies inside the optimizer step named.
DIES = """
import os, signal
from torch.optim.optimizer import register_optimizer_step_pre_hook
taken = 0
def faulty(*_):
    global taken
    taken += 1
    if taken == 12 and not os.path.exists('{flag}'):
        open('{flag}', 'w').close()
        os.kill(0, signal.SIGKILL)
register_optimizer_step_pre_hook(faulty)
"""


def test_killed_and_resumed_is_bit_identical(
    base: ModelRef, pairs: DatasetRef, trained: RewardModelResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(DIES.format(flag=tmp_path / "died"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fault"))
    every = SFTSpec(save_steps=5)  # 5 steps an epoch: killed inside the third
    with pytest.raises(StageCrashed, match=signal.SIGKILL.name):
        reward_model.train(base, pairs, SPEC, every, RECIPE, Workspace(tmp_path / "work"))

    resumed = reward_model.train(base, pairs, SPEC, every, RECIPE, Workspace(tmp_path / "work")).result

    def weights(result: RewardModelResult) -> str:
        return hashlib.sha256((Path(result.model.base) / "model.safetensors").read_bytes()).hexdigest()

    assert (trained.restarts, resumed.restarts) == (0, 1)
    assert weights(resumed) == weights(trained)
    assert resumed.metrics == trained.metrics
    assert (resumed.accuracy, resumed.calibration, resumed.bias) == (
        trained.accuracy,
        trained.calibration,
        trained.bias,
    )
    again = reward_model.train(base, pairs, SPEC, every, RECIPE, Workspace(tmp_path / "work"))
    assert again.reused


def test_no_prompt_is_on_both_sides() -> None:
    rows = [
        {"system": "", "prompt": text, "id": number} for number, text in enumerate(["Hi!", "hi", "Bye", "So", "Go"] * 3)
    ]

    train, held_out = split(rows, 0.3, 0, "x.parquet")

    def sayings(side: list[dict[str, Any]]) -> set[str]:
        return {row["prompt"].lower().strip("!") for row in side}

    assert not sayings(train) & sayings(held_out)
    assert len(sayings(held_out)) == 2  # 0.3 of four, rounded up
    assert split(rows[::-1], 0.3, 0, "")[1] == held_out[::-1], "the order of rows makes no difference"
    assert sayings(split(rows, 0.3, 1, "")[1]) != sayings(held_out) or sayings(split(rows, 0.3, 2, "")[1]) != sayings(
        held_out
    )
    assert len(sayings(split(rows, 0.99, 0, "")[0])) == 1, "one prompt is always left to train on"
    with pytest.raises(DataError, match=r"x\.parquet: found pairs of 1 prompts, expected at least 2"):
        split(rows[:2], 0.3, 0, "x.parquet")


@pytest.mark.parametrize(
    ("low", "value", "outcome"), [(0.51, 0.6, "passed"), (0.5, 0.6, "too_few_rows"), (0.4, 0.5, "refused")]
)
def test_the_whole_interval_must_lie_above_the_threshold(low: float, value: float, outcome: str) -> None:
    verdict = judge(Score(value=value, low=low, high=0.7), 0.5, 100, 40)
    assert (verdict.name, verdict.outcome) == ("reward_model", outcome)
    assert f"[{low:.3f}, 0.700] on 100 held-out pairs of 40 prompts" in verdict.summary


def test_it_must_not_be_larger_than_the_policy(base: ModelRef, tmp_path: Path) -> None:
    config = json.loads((Path(base.base) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    larger = ModelRef(base=str(tmp_path), fingerprint="")

    assert check_size(base, base, allow_larger=False) == ""
    assert check_size(base, larger, allow_larger=False) == ""
    with pytest.raises(ModelError, match=r"more than the policy's .*allow_larger: true"):
        check_size(larger, base, allow_larger=False)
    assert "(S3)" in check_size(larger, base, allow_larger=True)


def test_review_says_when_it_may_no_longer_be_asked(trained: RewardModelResult) -> None:
    """People agree with it on the pairs that it knows the kind of, until they say the opposite of each."""
    known = trained.reward_model
    pairs = [
        ReviewedPair(prompt=row["prompt"], first=row["chosen"], second=row["rejected"], better="first")
        for row in read(trained.scores)
    ]

    agreed = recalibrate(known, pairs)
    contrary = recalibrate(known, [pair.model_copy(update={"better": "second"}) for pair in pairs])

    assert (agreed.accuracy.value, agreed.reward_model.passed) == (1, True)
    assert agreed.refit.loss_after <= agreed.refit.loss_before
    assert (contrary.accuracy.value, contrary.reward_model.passed) == (0, False)
    assert contrary.refit.offset < 0, "it overrates the first answers"
    assert known.probability(1, 0) > 0.5 > contrary.reward_model.probability(1, 0)
    with pytest.raises(ModelError, match="refused by its gate"):
        functions([RewardTerm(name="preference", weight=1)], "text", contrary.reward_model)
    with pytest.raises(DataError, match="found none"):
        recalibrate(known, [])


def test_what_the_spec_leaves_open_is_as_in_sft(base: ModelRef) -> None:
    few = recipes.for_reward_model(RewardModelSpec(), SFTSpec(method="full"), base, 500)
    many = recipes.for_reward_model(RewardModelSpec(), SFTSpec(method="lora"), base, 5_000)

    assert (few.learning_rate, few.num_train_epochs, few.batch_size) == (full_rate(1), 1, 16)
    assert (many.learning_rate, many.batch_size) == (lora_rate(1), 32)
    given = RewardModelSpec(method="full", learning_rate=1e-5)
    assert recipes.for_reward_model(given, SFTSpec(method="lora"), base, 500).learning_rate == 1e-5
