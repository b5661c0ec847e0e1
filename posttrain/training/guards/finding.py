"""What guards see, and what they say of it. Plain values; knows neither detectors nor trainers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from posttrain.artifacts import Frozen

Guard = Literal["instability", "collapse", "hacking"]


class Observation(Frozen):
    """One logged step or one rollout."""

    step: int = Field(description="Optimizer steps done (PPO: rollouts done).")
    metrics: dict[str, float] = Field({}, description="The trainer's, and those of `text.measure`.")
    words: dict[str, float] = Field({}, description="Share of the completions that hold each of the commonest words.")
    proxy: tuple[float, ...] = Field((), description="The reward of an answer to each held-out prompt.")
    independent: tuple[float, ...] = Field((), description="The independent measure of the same answers.")


class HeldOut(Frozen):
    """Answers to held-out prompts, always the same ones in the same order, judged twice."""

    proxy: tuple[float, ...] = Field(description="By the reward that is trained on.")
    independent: tuple[float, ...] = Field(description="By what is not.")


class Finding(Frozen):
    """A guard's word: what it saw, since when, and how far that went."""

    guard: Guard
    step: int = Field(description="When it was seen.")
    since: int = Field(description="The first step that speaks for it; what lies before is held to be sound.")
    severity: Literal["warn", "roll_back", "stop"] = "warn"
    diagnosis: str
    numbers: dict[str, float] = Field({}, description="What the diagnosis rests on.")
    acts: bool = Field(True, description="False: worth a word, never more, however long it lasts.")
    at_once: bool = Field(False, description="True: no further finding need be waited for.")
    away: bool = Field(False, description="The policy ran from its reference: a higher KL coefficient helps.")

    def __str__(self) -> str:
        return f"{self.guard} at step {self.step}: {self.diagnosis}"


History = Sequence[Observation]
