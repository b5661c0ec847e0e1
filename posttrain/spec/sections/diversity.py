"""`curate.diversity`: as many rows as wanted, whose prompts cover what all prompts cover."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting
from posttrain.spec.sections.semantic import EMBEDDER, TOKENS


class DiversitySpec(Frozen):
    """As many rows as wanted, whose prompts cover what all prompts cover (S1, S3: 100k candidates to 30k)."""

    rows: int = required("Rows to keep.", ge=1)
    quality: str = setting(
        "quality", "Column of numbers, if rows have it: of rows that add about as much, the one with the highest stays."
    )
    model: str = setting("auto", EMBEDDER, min_length=1)
    max_tokens: int = setting(128, TOKENS, ge=8, le=8192)
