"""What a measurement leaves behind: scores with intervals, and a reference to every output they came from.

Knows nothing of how they were measured.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from posttrain.artifacts import DatasetRef, Frozen, ModelRef

FEWEST_WON = 6
"""Rows that an exact two-sided test at 5 % needs, all of them won: 2 / 2^6 is 0.031, 2 / 2^5 is 0.063."""

Prompting = Literal["zero-shot", "few-shot", "step-by-step", "self-consistency"]


class Score(Frozen):
    """A metric's value over all rows, and its 95 % interval from resampling them."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Scores(Frozen):
    """One model measured on one split, asked in one way."""

    model: ModelRef
    split: str = Field(description="validation or test")
    prompting: Prompting
    rows: int
    metrics: dict[str, Score]
    outputs: DatasetRef = Field(description="id, prompt, expected, output, parsed and a column per per-row value")
    general: DatasetRef | None = Field(default=None, description="Rows behind the perplexity on held-out general text")
    slices: dict[str, Scores] = Field(
        default={}, description="Parts of the rows, scored by themselves (`evaluate.slices`)"
    )
    cut_prompts: int = Field(default=0, description="Prompts that lost their beginning to fit the model's context")
    few_shot: str = Field(default="", description="Which worked examples were shown, in words")
    decoding: str = Field(
        default="", description="What outputs were held to, and what generated them, if not the usual"
    )
    seconds: float

    @property
    def asked(self) -> str:
        """How the model was asked, in words."""
        return f"{self.prompting}, {self.decoding}" if self.decoding else self.prompting

    def with_general_of(self, other: Scores) -> Scores:
        """These scores with what was measured of the same model once only, asked plainly: its perplexity, and slices
        such as safety and general ability. A demand not to be worse than the model then has something to compare with,
        whichever way of asking is the best."""
        perplexity = {name: score for name, score in other.metrics.items() if name == "perplexity"}
        more = {"metrics": self.metrics | perplexity, "general": other.general, "slices": other.slices | self.slices}
        return self.model_copy(update=more)


class Gain(Frozen):
    """Candidate minus reference over the same rows, signed so that more is better.

    `low`, `high`: 95 % interval of the paired bootstrap; `p_value`: two-sided, of no gain at all, by `test`;
    `detectable`: the smallest gain that this many rows would call significant four times in five; of McNemar's test
    never less than `FEWEST_WON` rows, which it needs.
    """

    value: float
    low: float
    high: float
    p_value: float
    detectable: float
    rows: int
    test: str = Field(default="", description="McNemar (exact; right or wrong per row) or permutation (of each pair)")

    def rows_needed(self, margin: float = 0.0) -> int | None:
        """Rows of the same kind that would show, four times in five, that such a gain is over `margin`.

        It is asked of rows that do not show it, so the answer is more than these. None when the gain is the margin: no
        number of rows would.
        """
        beyond = abs(self.value - margin)
        if beyond < 1e-9:
            return None
        return max(self.rows + 1, math.ceil(self.rows * (self.detectable / beyond) ** 2))
