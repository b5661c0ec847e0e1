"""What a decision is: the next step, the way through the flowchart that led there, and what was not chosen and why.

Plain data for flows, tables, pages and terminals. Knows nothing of how it is made.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from posttrain.artifacts import Frozen

Step = Literal["baseline", "after_sft"]
Action = Literal[
    "use_prompt",
    "use_few_shot",
    "keep_prompt",
    "mend_data",
    "collect_data",
    "align_base",
    "sft",
    "release",
    "keep_sft",
    "measure_more",
    "align",
    "rethink",
]

MEANING: dict[Action, str] = {
    "use_prompt": "use the prompt: it is enough",
    "use_few_shot": "use worked examples in the prompt: they are enough",
    "keep_prompt": "keep the better prompt, although a target is missed",
    "mend_data": "mend the data first",
    "collect_data": "collect more data",
    "align_base": "{aligner} on the base model, without SFT",
    "sft": "SFT",
    "release": "release the model after SFT",
    "keep_sft": "keep the model after SFT, although a target is missed",
    "measure_more": "measure on more rows: these cannot tell",
    "align": "{aligner} on top of SFT",
    "rethink": "rethink the task",
}
"""With room for the name of alignment's method."""

TRAINS: tuple[Action, ...] = ("align_base", "sft")
"""What the first decision may say that trains a model; everything else is advice."""


def meaning(action: Action, aligner: str) -> str:
    """The action in words; `aligner` is the name of alignment's method, as people write it."""
    return MEANING[action].format(aligner=aligner)


class Turn(Frozen):
    """One box of the flowchart: the question, the answer that the measurement gave, and what it rests on."""

    question: str
    answer: str
    because: tuple[str, ...] = ()


class Alternative(Frozen):
    """A rung that was not chosen, why not, and what it would cost (None: nothing to train, or not known)."""

    action: Action
    why_not: str
    minutes: float | None = None
    money: float | None = Field(default=None, description="In the unit of resources.price_per_hour")


class Decision(Frozen):
    """The next step, why, and the numbers behind it."""

    step: Step
    action: Action
    reasons: tuple[str, ...]
    evidence: dict[str, float | str | int]
    path: tuple[Turn, ...] = Field(default=(), description="The boxes of the flowchart in the order they were met")
    alternatives: tuple[Alternative, ...] = ()
    minutes: float | None = Field(default=None, description="What the chosen rung should take on this machine")
    money: float | None = Field(default=None, description="The same in the unit of resources.price_per_hour")
    rows: int | None = Field(
        default=None, description="collect_data: rows to add for training; measure_more: rows to measure on"
    )

    prompting: str = Field(
        default="",
        description="Before training: the prompting that is enough, or the best to live with until something better is",
    )
    slices: tuple[str, ...] = Field(default=(), description="align: the slices that lag; pairs come from their prompts")

    @property
    def aligner(self) -> str:
        """The name of alignment's method, as people write it."""
        return str(self.evidence.get("align_method", "dpo")).upper()

    @property
    def meaning(self) -> str:
        """The action in words."""
        return meaning(self.action, self.aligner)

    @property
    def by_people(self) -> bool:
        """Whether the model is to be aligned to what people prefer, not to a ranking of its own answers."""
        return self.action in ("align", "align_base") and self.evidence.get("preferences") == "people"
