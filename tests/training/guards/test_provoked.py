"""Each failure provoked for real, and caught; and a healthy training left alone.

The policy is the random tiny Llama after enough SFT to answer in JSON. Trainings run in this process, through the same
`supervise` as a stage's; only what must survive a kill runs in a child.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef, Workspace
from posttrain.errors import GuardTripped, StageCrashed
from posttrain.spec import AlignSpec, GuardsSpec, SFTSpec, TaskSpec
from posttrain.spec.sections.guards import HackingSpec
from posttrain.spec.sections.online import OnlineSpec
from posttrain.training import online, preference, sft, trainer
from posttrain.training.guards.easing import Ease
from posttrain.training.guards.record import read_state
from posttrain.training.job import Recipe, TrainingJob
from posttrain.training.online.lesson import Lesson
from posttrain.training.online.ppo import run_ppo
from posttrain.training.online.questions import ask
from posttrain.training.result import TrainResult
from posttrain.training.rewards import intent_slots
from posttrain.training.signals import Signals
from posttrain.training.supervise import supervise

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

Texts = Sequence[str]


@pytest.fixture(scope="module")
def policy(base: ModelRef, data: Any, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("sft")
    recipe = Recipe(learning_rate=3e-3, num_train_epochs=30, batch_size=8, micro_batch_size=8)
    result = sft.run(here(sft.resolve(base, data(20), None, SFTSpec(method="full"), recipe), folder))
    assert result.guards == (), "a healthy SFT"
    return result.model


def here(job: Any, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    return job.model_copy(update={"partial": str(folder), "final": str(folder)})


def weights(ref: ModelRef) -> str:
    (file,) = Path(ref.base).glob("*.safetensors")
    return hashlib.sha256(file.read_bytes()).hexdigest()


# --- by rewards --------------------------------------------------------------------------------------------


def honest(prompts: Texts, completions: Texts, *, expected: Texts, **columns: Any) -> list[float]:
    """Climbs with what the verifier says, and by its own scale."""
    return [2 * score - 1 for score in intent_slots(prompts, completions, expected=expected)]


def says_paris(prompts: Texts, completions: Texts, **columns: Any) -> list[float]:
    """Can be had by one word, whatever the question."""
    return [float("paris" in text) for text in completions]


def opens_with_paris(prompts: Texts, completions: Texts, **columns: Any) -> list[float]:
    """Likes one opening, whatever the question."""
    return [float(text.startswith('{"intent": "GetWeather", "slots": {"city": "paris')) for text in completions]


def capitals(prompts: Texts, completions: Texts, **columns: Any) -> list[float]:
    """Goes on paying, the further the policy runs."""
    return [sum(letter.isupper() for letter in text) / 10 for text in completions]


def by_reward(
    policy: ModelRef, data: Any, reward: Callable[..., list[float]], folder: Path, updates: int, **given: Any
) -> tuple[Any, Callable[[Any], TrainResult]]:
    """A job of PPO, and the attempt that runs it with `reward`."""
    online_settings = {
        "total_episodes": updates * 32, "rollout_batch_size": 32, "ppo_epochs": 2, "top_p": 1.0,
        "repetition_penalty": 1.0, "length_penalty": 0.0, **given.pop("online", {}),
    }  # fmt: skip
    rate = given.pop("learning_rate", 5e-4)
    spec = AlignSpec(method="ppo", learning_rate=rate, online=OnlineSpec(**online_settings))
    recipe = Recipe(learning_rate=rate, num_train_epochs=1, batch_size=16, micro_batch_size=16)
    made = online.resolve(
        policy, data(20), TaskSpec(kind="intent_slots"), spec, SFTSpec(method="full", save_steps=5), recipe,
        max_new_tokens=24, validation=data(40),
    )  # fmt: skip
    hacking = {"every": 2, "prompts": 32, **given.pop("hacking", {})}
    guards = GuardsSpec(hacking=HackingSpec(**hacking), **given)

    def attempt(job: Any) -> TrainResult:
        trainer.prepare_process(job)
        model, tokenizer, base = trainer.load_policy(job)
        questions, _ = ask(job, tokenizer)
        return run_ppo(Lesson(job, model, tokenizer, base, questions, Signals([reward], lambda step: [1.0])))

    return here(made, folder).model_copy(update={"guards": guards}), attempt


def test_a_healthy_training_is_left_alone(policy: ModelRef, data: Any, tmp_path: Path) -> None:
    job, attempt = by_reward(policy, data, honest, tmp_path, updates=16)

    result = supervise(job, attempt)

    assert result.guards == ()
    assert max(point.metrics["objective/kl"] for point in result.curve) > 0.05, "it did move"


def test_a_hackable_reward_is_found_out(policy: ModelRef, data: Any, tmp_path: Path) -> None:
    """The reward goes to 1, the verifier's word on the same answers to validation prompts does not."""
    job, attempt = by_reward(policy, data, says_paris, tmp_path, updates=16, patience=2)

    result = supervise(job, attempt)

    first, *others = [one for one in result.guards if one.severity == "roll_back"]
    assert first.guard == "hacking"
    assert first.numbers["reward_now"] > first.numbers["reward_before"] + 0.3
    assert first.numbers["independent_now"] <= first.numbers["independent_before"]
    assert "the independent measure stands still: from 0.425 to" in first.diagnosis
    assert first.diagnosis.endswith("learning rate × 0.5, KL coefficient × 2")
    assert {one.guard for one in others} <= {"hacking"}
    last = [json.loads(line) for line in (tmp_path / "guards/observations.jsonl").read_text().splitlines()][-1]
    assert sum(last["independent"]) / len(last["independent"]) >= first.numbers["independent_now"], (
        "taken back for good"
    )


def test_a_kl_coefficient_of_a_hundredth_runs_away(policy: ModelRef, data: Any, tmp_path: Path) -> None:
    """S3: 0.05 is good, 0.01 runs away. Held at the one and the same reward, the first stays and the second goes."""
    ignored = {"hacking": {"action": "ignore"}, "collapse": {"action": "ignore"}}
    held = {"kl_controller": "fixed", "kl_coef": 0.05}
    job, attempt = by_reward(policy, data, capitals, tmp_path / "good", updates=24, online=held, **ignored)
    assert supervise(job, attempt).guards == ()

    loose = {"kl_controller": "fixed", "kl_coef": 0.01}
    job, attempt = by_reward(policy, data, capitals, tmp_path / "loose", updates=24, online=loose, **ignored)
    result = supervise(job, attempt)

    first = result.guards[0]
    assert (first.guard, first.severity) == ("instability", "roll_back")
    assert "runs from its reference: KL" in first.diagnosis
    assert "learning rate × 0.5, KL coefficient × 2" in first.diagnosis
    assert result.curve[-1].metrics["objective/kl_coef"] >= 0.02
    assert len(result.curve) == 24


def test_answers_that_open_alike_are_found_out(policy: ModelRef, data: Any, tmp_path: Path) -> None:
    """Half of the questions are not about the weather, and in the end nearly all answers are."""
    loose = {"kl_controller": "fixed", "kl_coef": 0.02, "temperature": 1.0}
    job, attempt = by_reward(
        policy, data, opens_with_paris, tmp_path, updates=24, learning_rate=2e-3, roll_backs=0, online=loose,
        hacking={"action": "ignore"},
    )  # fmt: skip

    with pytest.raises(GuardTripped, match=r"collapse at step \d+: completions become one another: openings from 0"):
        supervise(job, attempt)


# --- by learning rates -------------------------------------------------------------------------------------


def test_a_rate_a_hundred_times_too_high_in_ppo(policy: ModelRef, data: Any, tmp_path: Path) -> None:
    job, attempt = by_reward(policy, data, honest, tmp_path, updates=12, learning_rate=5e-2, roll_backs=0)

    with pytest.raises(GuardTripped, match=r"instability at step \d+: the policy runs from its reference"):
        supervise(job, attempt)


def too_fast(policy: ModelRef, data: Any, folder: Path, **guards: Any) -> TrainingJob:
    """SFT that goes on where the policy's ended, at 100 times the rate that is right for it."""
    recipe = Recipe(learning_rate=0.1, num_train_epochs=6, batch_size=8, micro_batch_size=8)
    job = sft.resolve(policy, data(40), None, SFTSpec(method="full", save_steps=4), recipe)
    return here(job, folder).model_copy(update={"guards": GuardsSpec(**guards)})  # type: ignore[no-any-return]


def test_a_rate_a_hundred_times_too_high_in_sft_and_dpo(policy: ModelRef, data: Any, tmp_path: Path) -> None:
    with pytest.raises(GuardTripped, match=r"instability at step \d+: loss rose from 0\.\d+ to .*Taken back 2 times"):
        supervise(too_fast(policy, data, tmp_path / "sft"), sft.run)  # type: ignore[arg-type]
    assert [one.to_step for one in read_state(tmp_path / "sft").roll_backs] == [0, 0], "from the start, more gently"

    right = Recipe(learning_rate=1e-3, num_train_epochs=6, batch_size=8, micro_batch_size=8)
    healthy = sft.resolve(policy, data(40), None, SFTSpec(method="full"), right)
    assert supervise(here(healthy, tmp_path / "healthy"), sft.run).guards == ()


def test_dpo_that_pushes_down_what_it_should_prefer(policy: ModelRef, pairs: Any, tmp_path: Path) -> None:
    def aligned(rate: float, folder: Path) -> TrainResult:
        recipe = Recipe(learning_rate=rate, num_train_epochs=3, batch_size=8, micro_batch_size=8)
        spec = AlignSpec(learning_rate=rate, num_train_epochs=3)
        job = preference.resolve(policy, pairs, spec, SFTSpec(method="full"), recipe)
        return supervise(here(job, folder), preference.run)

    assert aligned(5e-4, tmp_path / "healthy").guards == ()
    with pytest.raises(GuardTripped, match=r"chosen answers themselves become improbable.*Taken back 2 times"):
        aligned(5e-2, tmp_path / "fast")


# --- acting ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, data: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from posttrain.artifacts import DatasetRef, file_digest
    from posttrain.training.rows import read

    made = [
        {"id": row["id"], "system": "", "prompt": row["prompt"], "chosen": row["completion"],
         "rejected": json.dumps({"intent": "Nothing", "slots": {}}), "margin": 0.8}
        for row in read(data(40))
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(made), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(made))


def in_a_child(run: Callable[[Any], TrainResult], die_at: dict[str, int]) -> Callable[[Any], TrainResult]:
    """An attempt in a process of its own, which is killed by the n-th optimizer step of the try that is named."""
    tries = 0

    def attempt(job: Any) -> TrainResult:
        nonlocal tries
        tries += 1
        at = die_at.get(str(tries), 0)
        child = os.fork()
        if child == 0:
            end = 0
            try:
                if at:
                    _dies(at)
                (Path(job.partial) / "result.json").write_text(run(job).model_dump_json())
            except GuardTripped:
                end = 3
            finally:
                os._exit(end)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            raise StageCrashed("killed")
        if os.WEXITSTATUS(status) == 3:
            raise GuardTripped("as noted")
        return TrainResult.model_validate_json((Path(job.partial) / "result.json").read_text())

    return attempt


def _dies(at: int) -> None:
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    taken = 0

    def hook(*_: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == at:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_pre_hook(hook)


def test_killed_between_roll_backs_it_ends_the_same(policy: ModelRef, data: Any, tmp_path: Path) -> None:
    """Taken back to a tenth of the rate; killed before that and after."""
    gentle = {"rate_factor": 0.1}
    undisturbed = supervise(too_fast(policy, data, tmp_path / "undisturbed", **gentle), sft.run)  # type: ignore[arg-type]

    job = too_fast(policy, data, tmp_path / "killed", **gentle)
    attempt = in_a_child(sft.run, die_at={"1": 7, "3": 6})  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(StageCrashed):
            supervise(job, attempt)
    killed = supervise(job, attempt)

    assert undisturbed.guards[0].severity == "roll_back"
    assert killed.guards == undisturbed.guards
    assert weights(killed.model) == weights(undisturbed.model)
    assert killed.curve == undisturbed.curve


def test_the_word_of_a_guard_crosses_the_process(
    policy: ModelRef, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    recipe = Recipe(learning_rate=0.1, num_train_epochs=6, batch_size=8, micro_batch_size=8)

    with pytest.raises(GuardTripped, match="lower learning_rate"):
        sft.train(
            policy, data(40), None, SFTSpec(method="full"), recipe, Workspace(tmp_path), guards=GuardsSpec(roll_backs=0)
        )


def test_grpo_is_watched_with_what_it_samples_and_a_second_reward_model(
    policy: ModelRef, data: Any, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(policy.base)
    tokenizer.save_pretrained(tmp_path / "second")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_labels=1, pad_token_id=0,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "second")
    spec = AlignSpec(
        method="grpo", samples=4, learning_rate=1e-4,
        online=OnlineSpec(total_episodes=48, rollout_batch_size=16, mini_batch_size=16),
    )  # fmt: skip
    recipe = Recipe(learning_rate=1e-4, num_train_epochs=1, batch_size=16, micro_batch_size=16)
    job = online.resolve(
        policy, data(20), TaskSpec(kind="intent_slots"), spec, SFTSpec(method="full"), recipe, max_new_tokens=16,
        validation=data(40),
    )  # fmt: skip
    guards = GuardsSpec(hacking=HackingSpec(every=2, prompts=8))
    second = online.second_of(GuardsSpec(hacking=HackingSpec(reward_model=str(tmp_path / "second"))))

    result = online.run(here(job, tmp_path).model_copy(update={"guards": guards, "second": second}))

    seen = [json.loads(line) for line in (tmp_path / "guards/observations.jsonl").read_text().splitlines()]
    assert [one["step"] for one in seen] == [0, 1, 2, 3]
    assert [len(one["independent"]) for one in seen] == [len(one["proxy"]) for one in seen] == [8, 0, 8, 0]
    assert all({"kl", "entropy", "distinct_2", "openings", "reward"} <= one["metrics"].keys() for one in seen[1:])
    assert result.guards == ()


def test_easing_is_the_same_wherever_the_training_resumes(policy: ModelRef, data: Any, tmp_path: Path) -> None:
    """From a checkpoint that knew nothing of it, and from the start."""
    recipe = Recipe(learning_rate=1e-3, num_train_epochs=6, batch_size=8, micro_batch_size=8)
    job = sft.resolve(policy, data(20), None, SFTSpec(method="full", save_steps=8), recipe)
    sft.run(here(job, tmp_path / "resumed"))
    shutil.rmtree(tmp_path / "resumed/checkpoints/checkpoint-16")
    eased = job.model_copy(update={"eased": (Ease(step=8, rate=0.5),)})

    resumed = sft.run(here(eased, tmp_path / "resumed"))
    whole = sft.run(here(eased, tmp_path / "whole"))

    rates = {point.step: point.metrics["learning_rate"] for point in whole.curve}
    # cosine over 18 steps, one of them to warm up: after 8 steps (1 + cos(7π/17)) / 2 of the rate, and half of that
    assert rates[8] == pytest.approx(1e-3 * (1 + math.cos(math.pi * 6 / 17)) / 2)
    assert rates[9] == pytest.approx(1e-3 * (1 + math.cos(math.pi * 7 / 17)) / 4)
    assert weights(resumed.model) == weights(whole.model)
    assert resumed.curve == whole.curve
