"""`align.length_bias`: pairs in which the better answer is the longer one, and how many of them are too many."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class LengthBiasSpec(Frozen):
    """Pairs are set aside so that length alone does not tell the better answer; lengths are characters."""

    max_longer_share: float | None = setting(
        None,
        "Of pairs of unequal length, those whose chosen answer is the longer may be this share; beyond it the longest "
        "for their rejected answer are set aside, half of them at most. Empty: 0.6 for prose; 1 (no limit) where "
        "answers are JSON, labels, code or numbers, of which the complete one is rightly longer.",
        source="this project, after arXiv 2310.03716",
        gt=0,
        le=1,
    )
    max_ratio: float | None = setting(
        None, "A pair whose chosen answer is more than so many times as long is set aside; empty: none is.", gt=1
    )
