"""`best_of`: how to choose among several completions of one prompt."""

from __future__ import annotations

from pydantic import FiniteFloat

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting


class BestOfSpec(Frozen):
    """Of several completions of one prompt, the best by a reward function (rejection sampling)."""

    reward: str = required(
        "FILE.py:FUNCTION inside the project; called as TRL does, (prompts, completions, **columns) -> list[float].",
        pattern=r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$",
        examples=["rewards.py:correct"],
    )
    at_least: FiniteFloat | None = setting(
        None, "A prompt whose best completion is rewarded less than this loses all of them.", source="S1"
    )
    keep: int = setting(1, "Completions kept for a prompt.", source="S1", ge=1)
