"""PPO learns: a bandit's known optimum is found, and a verified reward climbs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain.artifacts import ModelRef
from posttrain.models.load import load_model, load_tokenizer
from posttrain.training.ppo.actor import Actor
from posttrain.training.ppo.rollout import Sampling
from posttrain.training.ppo.trainer import PPOTrainer, Question, Settings
from posttrain.training.signals import Signals

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def settings(**changes: Any) -> Settings:
    """Of a training without truncation, so that what is drawn is what is trained."""
    sampling = Sampling(changes.pop("max_new_tokens", 1), 1.0, 1.0, 1.0, 0)
    given: dict[str, Any] = {
        "updates": 20, "rollout_batch_size": 64, "mini_batch_size": 32, "micro_batch_size": 32, "ppo_epochs": 4,
        "learning_rate": 3e-3, "critic_learning_rate": 0.05, "clip_range": 0.2, "value_clip_range": 0.2,
        "gamma": 1.0, "lam": 0.95, "whiten_rewards": False, "max_grad_norm": 0.5,
        "kl_controller": "fixed", "kl_coef": 0.0, "kl_schedule": (), "kl_target": 6.0, "kl_horizon": 10_000,
        "length_penalty": 0.0, "sampling": sampling,
    }  # fmt: skip
    return Settings(**{**given, **changes})


def trained(
    base: ModelRef, folder: Path, given: Settings, reward: Any, prompts: Sequence[str] = ("play", "weather")
) -> tuple[PPOTrainer, list[float]]:
    """A trainer after its training from `base`, all weights, and the mean reward of every update."""
    from accelerate import Accelerator

    tokenizer = load_tokenizer(base)
    actor = Actor(load_model(base), load_model(base).requires_grad_(False), given.sampling.temperature)
    questions = [Question(tokenizer(text)["input_ids"], text, {"expected": text}) for text in prompts]
    trainer = PPOTrainer(
        given, actor, tokenizer, questions, Signals([reward], lambda step: [1.0]), folder, Accelerator(cpu=True)
    )
    return trainer, [point.metrics["reward"] for point in trainer.train()]


LETTER = {"play": "a", "weather": "e"}


def arm(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
    """1 for a token with the right letter in it, which the prompt decides; 0 for every other token."""
    return [float(LETTER[prompt] in text) for prompt, text in zip(prompts, completions, strict=True)]


def chances(model: Any, tokenizer: Any) -> list[float]:
    """That the token after each prompt has the right letter in it."""
    found = []
    for prompt, letter in LETTER.items():
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer(prompt)["input_ids"]])).logits[0, -1]
        right = [token for token in range(len(logits)) if letter in tokenizer.decode([token], skip_special_tokens=True)]
        found.append(float(logits.softmax(-1)[right].sum()))
    return found


def test_a_bandit_comes_to_its_optimum_under_the_penalty(base: ModelRef, tmp_path: Path) -> None:
    """E[r] - β KL(π, π_ref) is greatest at π*(a) ∝ π_ref(a) exp(r(a) / β): arms of reward 1 that had the chance p
    together come to p e / (1 - p + p e) with e = exp(1 / β), and no further."""
    before = chances(load_model(base), load_tokenizer(base))
    e = math.exp(1 / 0.5)

    trainer, rewards = trained(
        base, tmp_path, settings(updates=24, learning_rate=5e-3, kl_coef=0.5, rollout_batch_size=128), arm
    )

    after = chances(trainer.actor.policy, trainer.tokenizer)
    for p, found in zip(before, after, strict=True):
        assert found == pytest.approx(p * e / (1 - p + p * e), abs=0.08)
    assert rewards[0] < 0.15 < 0.25 < rewards[-1]
