"""Online training: the policy answers prompts, its answers are rewarded, it learns from the rewards.

    python -m posttrain.training.online job.json

| module | idea |
| --- | --- |
| `job` | what a training is told: every value that the spec leaves open, resolved |
| `stage` | the training as a stage, and the work inside its process |
| `lesson` | what PPO, GRPO and RLOO begin with alike |
| `questions` | the prompts that are asked |
| `ppo` | PPO, by our own loop (`posttrain.training.ppo`) |
| `group` | GRPO and RLOO, by TRL's trainers |
| `independent` | what guards measure beside the reward |
"""

from posttrain.training.online.job import (
    OnlineJob,
    cannot_reward,
    job_for,
    resolve,
    second_of,
    wants_reward_model,
)
from posttrain.training.online.stage import run, train

__all__ = [
    "OnlineJob",
    "cannot_reward",
    "job_for",
    "resolve",
    "run",
    "second_of",
    "train",
    "wants_reward_model",
]
