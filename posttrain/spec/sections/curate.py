"""`curate`: from valid rows to the rows worth training on."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class CurateSpec(Frozen):
    """From valid rows to the rows worth training on; every dropped row keeps its reason."""

    near_duplicates: float = setting(
        0.85,
        "Rows whose estimated Jaccard similarity (MinHash) reaches this are one row; 1 keeps near-duplicates.",
        source="S3 (its 0.85 is for embeddings)",
        gt=0,
        le=1,
    )
    decontaminate_ngram: int = setting(
        8,
        "A training row that shares this many consecutive words with a test prompt is dropped; 0: exact only.",
        source="this project",
        ge=0,
    )
    validation_rows: int = setting(700, "Rows cut from training for the gates along the way.", ge=1)
    general_share: float = setting(
        0.03,
        "Share of general rows in the training mix. S2 mixes general:domain 7:1 (0.875) for chat; a narrow "
        "format-bound task needs far less.",
        ge=0,
        lt=1,
    )
    max_rows: int | None = setting(None, "Train on at most this many rows, drawn with the seed.", ge=1)
    seed: int = setting(0, "Decides split, mix and order.", ge=0)
