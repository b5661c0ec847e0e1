"""The signal `preference`: a reward model's score, in standard deviations of what it gives on training prompts.

Uses a reward model only when its gate let it pass. Knows nothing of how one is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from posttrain.artifacts import Frozen, ModelRef
from posttrain.errors import ModelError
from posttrain.training.rewards.penalties import Reward
from posttrain.training.rewards.text import Told, plain, question

CLIP = 3.0
"""Standard deviations: what a reward model says of answers unlike any that it was trained on is not to be believed."""


class RewardModel(Frozen):
    """A reward model that may be asked, and the scale of its scores."""

    model: ModelRef = Field(description="A sequence classifier of one score, merged; safetensors.")
    mean: float = Field(description="Mean score over chosen and rejected answers of the training pairs.")
    std: float = Field(gt=0, description="Standard deviation of the same scores.")
    max_length: int = Field(description="Tokens of a conversation that it reads, the last ones.")
    passed: bool = Field(description="Whether its gate let it pass; a refused one is never asked.")
    temperature: float = Field(1.0, gt=0, description="Margins are divided by it to be probabilities.")
    offset: float = Field(0.0, description="Added to a scaled margin of policy against other; refitted from review.")

    def probability(self, first: float, second: float) -> float:
        """The chance that people prefer the policy's answer, of score `first`, to another one, of score `second`."""
        from posttrain.evaluation.calibration import probabilities

        return float(probabilities(first - second, self.temperature, self.offset))


def must_have_passed(judge: RewardModel) -> None:
    """Raises: `ModelError` for a reward model that its gate refused."""
    if not judge.passed:
        raise ModelError(
            f"{judge.model.base}: this reward model was refused by its gate, so nothing may be rewarded by it; see the "
            "verdict of the stage reward_model, give more pairs, or reward by the task's verifier"
        )


def preference_of(judge: RewardModel, clip: float = CLIP) -> Reward:
    """The signal: (score - mean) / std, cut at ±`clip`, over `clip`. Range -1 to 1; a usual answer is within ±1/3.

    Prompts are the rows' own, as text (then the column `system` holds their system messages, if they have any) or as
    turns. A trainer that renders prompts itself hands them on in the column `question`, unrendered. A completion's
    score depends on nothing but its prompt and itself. Raises: `ModelError` for a model that its gate refused.
    """
    must_have_passed(judge)

    def preference(prompts: Sequence[Told], completions: Sequence[Told], **columns: Any) -> list[float]:
        from posttrain.data.steps.scoring import rewards

        asked = [question(told) for told in columns.get("question", prompts)]
        given = columns.get("system") or [""] * len(asked)
        rows = [
            (system or told or "", prompt, plain(completion))
            for (system, prompt), told, completion in zip(asked, given, completions, strict=True)
        ]
        if not rows:
            return []
        scores = rewards(Path(judge.model.base), rows, judge.max_length)[:, 0].tolist()
        return [max(-clip, min(clip, (score - judge.mean) / judge.std)) / clip for score in scores]

    return preference
