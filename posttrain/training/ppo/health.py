"""What is logged of an update of PPO, under TRL's names, and who may look at it. Knows no model.

| name | unit |
| --- | --- |
| `reward`, `rewards/<signal>/mean` | mean score of a completion: weighted, and each signal alone |
| `objective/kl` | nats a completion, by k3; `objective/kl_k1` the estimator that the reward uses |
| `objective/entropy` | nats a token |
| `policy/approxkl`, `policy/clipfrac` | nats a token between before and after the update; share of clipped tokens |
| `val/explained_variance`, `val/clipfrac` | of the returns by the critic's values; share of clipped values |
| `completions/mean_length`, `completions/stop_rate` | tokens; share that ended by itself |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from posttrain.errors import TrainingDiverged
from posttrain.training.ppo import loss
from posttrain.training.ppo.rollout import Completion, Rollout

Observe = Callable[[int, Mapping[str, float], Sequence[str], Sequence[str]], None]
"""`observe(step, metrics, prompts, completions)`: called after every update; what it raises ends the training."""


def of_rollout(
    rollout: Rollout, completions: Sequence[Completion], signals: Mapping[str, Sequence[float]], scores: Sequence[float]
) -> dict[str, float]:
    """What was sampled and how it was rewarded, as the policy was when it sampled."""
    written = rollout.batch.written
    per_completion = len(completions)
    kl = loss.masked_mean(loss.k3(rollout.log_probs, rollout.reference), written, per_completion)
    kl_k1 = loss.masked_mean(loss.k1(rollout.log_probs, rollout.reference), written, per_completion)
    return {
        "reward": _mean(scores),
        "reward_std": _mean([(score - _mean(scores)) ** 2 for score in scores]) ** 0.5,
        **{f"rewards/{name}/mean": _mean(values) for name, values in signals.items()},
        "objective/kl": float(kl),
        "objective/kl_k1": float(kl_k1),
        "objective/entropy": float(loss.masked_mean(rollout.entropy, written)),
        "completions/mean_length": _mean([len(one.ids) for one in completions]),
        "completions/stop_rate": _mean([one.ended for one in completions]),
    }


def of_critic(values: Tensor, returns: Tensor, written: Tensor) -> dict[str, float]:
    """How well the critic knew, before the update, what came."""
    return {"val/explained_variance": float(loss.explained_variance(values, returns, written))}


def must_be_finite(what: str, value: float, step: int, steps: int, rate: float) -> None:
    """Raises: `TrainingDiverged` for a number that is none, naming the update and the rate."""
    if not math.isfinite(value):
        raise TrainingDiverged(
            f"{what} is {value} at update {step + 1} of {steps} with learning rate {rate:.3g}; "
            "lower align.learning_rate or raise the KL coefficient"
        )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
