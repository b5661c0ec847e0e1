"""`rewards`: what reinforcement learning is rewarded for, and when each signal joins."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting

SignalName = Literal["preference", "verifier", "kl", "length", "repetition", "safety"]

OPTIONS: dict[str, tuple[str, ...]] = {
    "preference": ("clip",),
    "verifier": (),
    "kl": ("coefficient",),
    "length": ("characters",),
    "repetition": (),
    "safety": ("bonus", "penalty"),
}
"""Which options of a term are whose."""


class RewardTerm(Frozen):
    """One signal of the mixed reward; the reward is the sum of weight × signal over the signals that are active."""

    name: SignalName = required("Which signal.")
    weight: FiniteFloat = required(
        "Its share; left out altogether, the five of S3 have 0.6, 0.2, 0.05, 0.05, 0.1.", gt=0
    )
    from_step: int = setting(0, "The first update at which it counts; it is logged from the start.", source="S3", ge=0)
    from_share: float = setting(
        0.0, "The same as a share of all updates (0.2: after the first fifth).", source="S3", ge=0, lt=1
    )
    clip: float | None = setting(
        None, "preference: scores further from the mean than so many standard deviations (3) count as that far.", gt=0
    )
    coefficient: float | None = setting(
        None, "kl: the reward of each nat by which the completion left the SFT model (-0.05).", source="S3", lt=0
    )
    characters: int | None = setting(
        None, "length: so many characters are free (500); twice as many cost 1.", source="S3", ge=1
    )
    bonus: float | None = setting(None, "safety: the reward of a completion without harmful words (0.1).", ge=0, le=1)
    penalty: float | None = setting(None, "safety: what a harmful completion costs (1).", ge=0, le=1)

    @model_validator(mode="after")
    def _makes_sense(self) -> RewardTerm:
        if self.from_step and self.from_share:
            raise ValueError(f"the signal {self.name} begins at from_step and at from_share; keep one of them")
        every = {option for options in OPTIONS.values() for option in options}
        for option in sorted(every - set(OPTIONS[self.name])):
            if getattr(self, option) is not None:
                whose = next(name for name, options in OPTIONS.items() if option in options)
                raise ValueError(f"the signal {self.name} has no {option}, which is an option of {whose}; leave it out")
        return self


class RewardsSpec(Frozen):
    """The mixed reward of PPO, GRPO and RLOO: up to six signals, each logged alone."""

    signals: list[RewardTerm] = Field(
        default_factory=list,
        description="The signals in the order in which they join. Empty: preference 0.6, kl 0.2, length 0.05, "
        "repetition 0.05, safety 0.1; without a reward model the task's verifier takes preference's share.",
        json_schema_extra={"source": "S3"},
    )
    curriculum: Literal["together", "one_by_one"] = setting(
        "together",
        "one_by_one: start with the first signal and add the others one at a time, in equal parts of the training; the "
        "result says of each whether those before it suffered.",
        source="S3",
    )
    tolerance: float = setting(
        0.05, "An added signal is held harmless when no earlier one can have fallen by more than this.", gt=0
    )

    @property
    def asks_preference(self) -> bool:
        """Whether what people prefer is to be rewarded, where there is a reward model of it."""
        return not self.signals or any(term.name == "preference" for term in self.signals)

    @model_validator(mode="after")
    def _makes_sense(self) -> RewardsSpec:
        names = [term.name for term in self.signals]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the signal {twice[0]} is there twice; keep one of them")
        own = [term.name for term in self.signals if term.from_step or term.from_share]
        if own and self.curriculum == "one_by_one":
            raise ValueError(
                f"curriculum one_by_one sets when signals join, and so does {own[0]}; leave out its from_step or "
                "from_share, or the curriculum"
            )
        if own and len(own) == len(names):
            raise ValueError(f"no signal counts from the first update; let {names[0]} begin at once")
        return self
