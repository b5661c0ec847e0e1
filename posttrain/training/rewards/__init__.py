"""Rewards as plain functions, `(prompts, completions, **columns) -> list[float]`, as TRL calls them, and their mixture.

| signal | what it says | range |
| --- | --- | --- |
| `preference` | a reward model's score, standardised | -1 to 1 |
| `verifier` | the task's own check against the known completion | 0 to 1 |
| `kl` | minus the way gone from the SFT model | -1 to 1 |
| `length` | minus what goes past 500 characters | -1 to 0 |
| `repetition` | minus repeated words and sentence patterns | -1 to 0 |
| `safety` | a small bonus, or a large penalty for harmful words | -1 to 0.1 |
"""

from posttrain.spec.sections.rewards import RewardTerm
from posttrain.training.rewards.curriculum import Addition, additions
from posttrain.training.rewards.mixture import FIVE, functions, mixed, one_by_one, start, terms_of, weights_at
from posttrain.training.rewards.penalties import Reward
from posttrain.training.rewards.preference import RewardModel
from posttrain.training.rewards.verifier import REWARDS, extraction, intent_slots

__all__ = [
    "FIVE",
    "REWARDS",
    "Addition",
    "Reward",
    "RewardModel",
    "RewardTerm",
    "additions",
    "extraction",
    "functions",
    "intent_slots",
    "mixed",
    "one_by_one",
    "start",
    "terms_of",
    "weights_at",
]
