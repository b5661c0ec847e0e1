"""`curate.annotators`: what people's ratings decide about a row."""

from __future__ import annotations

from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class AnnotatorsSpec(Frozen):
    """What people's ratings decide about a row; only rows with ratings are looked at."""

    min_mean: float = setting(
        4.0,
        "Rows whose mean rating is lower are dropped. S3's scale ends at 5; set this to your own scale.",
        source="S3",
    )
    min_annotators: int = setting(3, "Ratings by this many people decide about a row.", source="S3", ge=1)
    too_few: Literal["review", "drop", "keep"] = setting(
        "review", "What becomes of a row that fewer people rated, if its mean is high enough."
    )
    max_range: float | None = setting(
        2.0,
        "Rows whose highest and lowest rating lie further apart go to review: the mean hides a disagreement. Empty: "
        "none do.",
        gt=0,
    )
    agreement: Literal["ordinal", "interval", "nominal", "off"] = setting(
        "ordinal",
        "How Krippendorff's alpha compares two ratings: by rank, by difference, or as equal or not.",
        source="Krippendorff 2011",
    )
