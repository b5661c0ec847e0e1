"""A reward model after people have reviewed what it said (S4): how sure it may be, and whether it may be asked still.

A policy learns to please its reward model, and so leaves what the model was trained on. Reviewed pairs show it: of the
policy's answer and another one, people say which is better. Knows no trainer: the weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from posttrain.artifacts import Frozen
from posttrain.errors import DataError
from posttrain.evaluation.calibration import Refit, Reviewed, refit
from posttrain.evaluation.scores import Score
from posttrain.gates import Verdict
from posttrain.training.held_out import judge
from posttrain.training.rewards.preference import RewardModel


class ReviewedPair(Frozen):
    """What a person said of two answers; of a policy's answer and another one, the policy's is `first`."""

    system: str = ""
    prompt: str
    first: str
    second: str
    better: Literal["first", "second"]


class Recalibrated(Frozen):
    """The reward model with its new scale, and what the review showed."""

    reward_model: RewardModel
    refit: Refit
    accuracy: Score = Field(description="On the reviewed pairs; a tie counts half.")
    verdict: Verdict


def recalibrate(reward_model: RewardModel, reviewed: Sequence[ReviewedPair], min_accuracy: float = 0.5) -> Recalibrated:
    """Score the reviewed pairs, refit temperature and offset to what people said, and judge the gate on them.

    A reward model that is no longer surely above `min_accuracy` on what the policy writes now is refused from here on.
    Raises: `DataError` without a pair; `ModelError` when the model cannot be loaded.
    """
    import numpy as np

    from posttrain.data.steps.scoring import rewards
    from posttrain.data.text.words import key
    from posttrain.evaluation.pairwise import accuracy

    if not reviewed:
        raise DataError("reviewed pairs: found none, expected at least one; have some reviewed first")
    asked = [(pair.system, pair.prompt, answer) for pair in reviewed for answer in (pair.first, pair.second)]
    scores = rewards(Path(reward_model.model.base), asked, reward_model.max_length)[:, 0]
    scores = scores.astype(np.float64).reshape(-1, 2)
    signs = np.array([1.0 if pair.better == "first" else -1.0 for pair in reviewed])
    found = refit(
        [
            Reviewed(first=first, second=second, better=pair.better)
            for pair, (first, second) in zip(reviewed, scores.tolist(), strict=True)
        ],
        reward_model.temperature,
        reward_model.offset,
    )
    prompts = [f"{key(pair.system)}\n{key(pair.prompt)}" for pair in reviewed]
    right = accuracy(signs * (scores[:, 0] - scores[:, 1]), prompts)
    verdict = judge(right, min_accuracy, len(reviewed), len(set(prompts)))
    changed = {"temperature": found.temperature, "offset": found.offset, "passed": verdict.passed}
    return Recalibrated(
        reward_model=reward_model.model_copy(update=changed), refit=found, accuracy=right, verdict=verdict
    )
