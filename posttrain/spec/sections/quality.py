"""`curate.quality`: a classifier of good and bad text, trained from examples that the user names."""

from __future__ import annotations

from pydantic import model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting
from posttrain.spec.sections.data import Names


class QualitySpec(Frozen):
    """A classifier trained from good and bad examples; rows that it finds bad are dropped, unsure ones go to review."""

    good: Names = required(
        "Files of good examples, of any format that data.train takes, or texts alone; at least 50 examples.",
        min_length=1,
    )
    bad: Names = required("Files of bad examples; at least 50.", min_length=1)
    good_lost: float = setting(
        0.01, "Share of good rows that dropping may cost, by cross-validation: it sets drop_below.", ge=0, lt=0.5
    )
    good_reviewed: float = setting(
        0.04, "Further share of good rows that may go to review: it sets review_below.", ge=0, lt=0.5
    )
    drop_below: float | None = setting(
        None, "Probability of being good below which rows are dropped; empty: by good_lost.", ge=0, le=1
    )
    review_below: float | None = setting(
        None, "Probability of being good below which rows go to review; empty: by good_reviewed.", ge=0, le=1
    )
    min_auc: float = setting(
        0.8,
        "The run stops when the classifier tells good from bad worse than this (AUC, cross-validated).",
        ge=0.5,
        le=1,
    )

    @model_validator(mode="after")
    def _in_order(self) -> QualitySpec:
        if self.drop_below is not None and self.review_below is not None and self.review_below < self.drop_below:
            raise ValueError(
                f"found review_below {self.review_below} below drop_below {self.drop_below}; raise review_below"
            )
        return self
