"""`bad_cases`: which served answers go to review, and how many of the corrected ones are kept to test with."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting
from posttrain.spec.sections.semantic import EMBEDDER


class BadCasesSpec(Frozen):
    """What `posttrain mine` looks for in what was served, and what becomes of the cases once people corrected them."""

    per_run: int = setting(50, "Cases that one mining sends to review, at most: the heaviest of every cluster.", ge=1)
    held_back: float = setting(
        0.3,
        "Share of the corrected cases that no model is trained on: every later model is tested on them (slice "
        "bad_cases). Which side a case is on is decided by its words alone, so it never changes.",
        ge=0,
        le=1,
    )
    least_confident: float = setting(
        0.05,
        "Share of the answers that counts as unsure: those of the lowest confidence, where it is known.",
        ge=0,
        lt=1,
    )
    likeness: float = setting(
        0.95, "Prompts whose vectors have this cosine are one case, asked several times.", gt=0, le=1
    )
    cluster: float = setting(0.5, "Mean cosine between the cases of one cluster.", gt=0, lt=1)
    look_back_days: float = setting(
        7.0, "A thumb or a correction that comes so long after its request is still noticed.", ge=0
    )
    model: str = setting("auto", EMBEDDER, min_length=1)
