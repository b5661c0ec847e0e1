"""`align.online`: learning from rewards of the model's own answers (PPO, GRPO, RLOO). Names are TRL's and S3's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting

Share = Annotated[float, Field(gt=0, le=1)]
Coefficient = Annotated[float, Field(ge=0)]


class OnlineSpec(Frozen):
    """PPO, GRPO and RLOO: how much is sampled, how far an update may go, how closely the model is held.

    GRPO and RLOO are TRL's: they have no critic, take one step for each rollout, and hold to `kl_coef` throughout.
    """

    total_episodes: int = setting(2560, "Completions sampled over the whole training.", source="this project", ge=1)
    rollout_batch_size: int = setting(
        64, "Completions sampled and rewarded between two updates.", source="this project", ge=1
    )
    mini_batch_size: int = setting(16, "Completions to an optimizer step of PPO.", source="S3", ge=1)
    ppo_epochs: int = setting(4, "Passes of an update of PPO over its completions.", source="S3", ge=1, le=100)
    clip_range: float = setting(0.2, "How far a step may move the policy's ratio from 1.", source="S3", gt=0, lt=1)
    value_clip_range: float = setting(0.2, "How far an update may move the critic's values.", source="S3", gt=0)
    gamma: float = setting(1.0, "Discount of later rewards.", source="Ziegler (arXiv 1909.08593)", gt=0, le=1)
    lam: float = setting(
        0.95, "λ of the advantage estimates (GAE): 1 trusts rewards, 0 the critic.", source="Ziegler", ge=0, le=1
    )
    critic_learning_rate: float = setting(
        0.05,
        "Of the critic's head, which starts at zero: a step moves a value by about so much at most, in the unit of the "
        "rewards.",
        source="this project",
        gt=0,
    )
    whiten_rewards: bool = setting(
        False,
        "Divide a rollout's rewards by their standard deviation, as Ziegler did. Off: returns then leave the unit of "
        "the rewards, and value_clip_range lets the critic follow them only slowly.",
        source="TRL's last PPO; measured here",
    )
    max_grad_norm: float = setting(0.5, "Gradients are clipped to this norm.", source="S3", gt=0)
    kl_controller: Literal["schedule", "fixed", "adaptive"] = setting(
        "schedule",
        "What sets the KL coefficient: kl_schedule, kl_coef alone, or kl_coef led to kl_target.",
        source="S3",
    )
    kl_coef: float = setting(
        0.05,
        "Of the KL penalty, for fixed, for adaptive's start, and for GRPO and RLOO; 0.05 to 0.08 is good, 0.01 runs "
        "away, 0.2 learns nothing.",
        source="S3",
        ge=0,
    )
    kl_schedule: tuple[tuple[Share, Coefficient], ...] = setting(
        ((0.2, 0.08), (0.6, 0.05), (0.2, 0.06)), "Share of the updates and its coefficient, in order.", source="S3"
    )
    kl_target: float = setting(6.0, "Of adaptive: nats a completion.", source="Ziegler (arXiv 1909.08593)", gt=0)
    kl_horizon: int = setting(10_000, "Of adaptive: completions that a full change takes.", source="Ziegler", ge=1)
    temperature: float = setting(0.7, "Of sampling, and of the log-probabilities that are trained.", source="S3", gt=0)
    top_p: float = setting(0.9, "Nucleus of sampling.", source="S3", gt=0, le=1)
    repetition_penalty: float = setting(
        1.2, "Of sampling; counts what was written, not the prompt (GRPO, RLOO: the prompt too).", source="S3", gt=0
    )
    length_penalty: float = setting(
        0.1, "Taken off a completion's score, times the share of max_new_tokens that it used.", source="S3", ge=0
    )

    @model_validator(mode="after")
    def _adds_up(self) -> OnlineSpec:
        shares = sum(share for share, _ in self.kl_schedule)
        if abs(shares - 1) > 1e-6:
            raise ValueError(f"kl_schedule: shares add up to {shares:g}, expected 1; correct them")
        if self.rollout_batch_size % self.mini_batch_size:
            raise ValueError(
                f"mini_batch_size {self.mini_batch_size} does not divide rollout_batch_size {self.rollout_batch_size}; "
                "make it a divisor"
            )
        return self
