"""`gates`: what a model must show to go on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting
from posttrain.spec.metrics import MetricName

Reference = Literal["baseline", "previous", "champion"]
MARGIN = 0.02
"""Of the demands that stand where a spec has none: some ten rows of 700, about what two seeds differ by."""


class Gate(Frozen):
    """One demand on one metric; every comparison that is filled in must hold.

    For perplexity, where lower is better, `above` and `not_worse_than` are mirrored: better means lower.
    A reference that does not exist yet (no champion so far) makes its comparison pass, and the verdict says so.
    """

    metric: MetricName = required("Which metric.")
    slice: str | None = setting(
        None, "On these rows only: a name of evaluate.slices, safety, or bad_cases (release). Empty: all rows."
    )
    at_least: FiniteFloat | None = setting(None, "The value itself must reach this.")
    at_most: FiniteFloat | None = setting(None, "The value itself must not pass this.")
    above: Reference | None = setting(
        None, "Must beat this model on the same rows: the base, the model before this stage, or the champion."
    )
    significant: bool = setting(
        False,
        "With `above`: not by luck. The paired bootstrap's 95 % interval of the gain must lie above the margin, and "
        "McNemar's test (rows right or wrong) or a permutation test (other metrics) give p ≤ 0.05.",
    )
    not_worse_than: Reference | None = setting(
        None,
        "The lower end of the gain over this model (paired 95 % interval) may lie below zero by the margin at most.",
    )
    margin: float = setting(
        0.0, "Gain demanded by `above`, loss allowed by `not_worse_than`, in the metric's unit.", ge=0
    )
    relative: bool = setting(False, "The margin is a share of the reference's value (0.1: ten per cent).")

    @model_validator(mode="after")
    def _makes_sense(self) -> Gate:
        compared = self.above or self.not_worse_than
        if self.at_least is None and self.at_most is None and not compared:
            raise ValueError(
                f"the gate on {self.metric} demands nothing; add at_least, at_most, above or not_worse_than"
            )
        if self.significant and not self.above:
            raise ValueError(
                f"the gate on {self.metric} is significant but beats nothing; add above: baseline, previous or champion"
            )
        if (self.margin or self.relative) and not compared:
            raise ValueError(f"the gate on {self.metric} has a margin but no reference; add above or not_worse_than")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(
                f"the gate on {self.metric} can never pass: at_least {self.at_least:g} is above "
                f"at_most {self.at_most:g}; swap them"
            )
        return self


class GatesSpec(Frozen):
    """Gates read the validation split; release reads the test split, once. A refusal ends the run as Completed."""

    correction: Literal["holm", "none"] = setting(
        "holm",
        "Of the p-values of one gate's `significant` claims: holm keeps the chance of any false claim at 5 %. Demands "
        "of another sort need none: all must hold, so that one more can only refuse more.",
        source="Holm 1979",
    )

    after_sft: list[Gate] = Field(
        default_factory=list, description="Demands on the model after SFT.", json_schema_extra={"source": "S0"}
    )
    after_align: list[Gate] = Field(
        default_factory=list,
        description="Demands on the model after DPO. Left out: its main metric is not worse than before, margin 0.02.",
        json_schema_extra={"source": "S0"},
    )
    release: list[Gate] = Field(
        default_factory=list,
        description="Demands on the test split before promotion to champion. Left out: the main metric is not worse "
        "than the champion's, margin 0.02.",
        json_schema_extra={"source": "S4"},
    )

    def demands(self, name: str, main_metric: str) -> list[Gate]:
        """The demands of a list (`after_sft`, `after_align` or `release`).

        A spec that says nothing of DPO or of the release does not mean that a worse model may replace a better one;
        who does writes an empty list.
        """
        demanded: list[Gate] = getattr(self, name)
        better: dict[str, Reference] = {"after_align": "previous", "release": "champion"}
        if name in self.model_fields_set or name not in better:
            return demanded
        return [Gate(metric=main_metric, not_worse_than=better[name], margin=MARGIN)]
