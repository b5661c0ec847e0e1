"""`curate.semantic`: rows that say the same as an earlier one in other words."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting

EMBEDDER = (
    "What turns texts into vectors: auto (minilm where letters are mostly Latin, else lexical), minilm (English, comes "
    "with the package), lexical (shared words, any language), a folder, or a Hugging Face id with safetensors."
)
TOKENS = "Tokens of a text that the embedder reads; of a longer text, its beginning and its end."


class SemanticSpec(Frozen):
    """Rows that say the same as an earlier one in other words: one row in place of several."""

    threshold: float = setting(
        0.85,
        "Rows are alike when the cosine of their prompts reaches this, and so does the mean over prompt and answers; "
        "no answer may be more than 0.1 below.",
        source="S3",
        gt=0,
        le=1,
    )
    model: str = setting("auto", EMBEDDER, min_length=1)
    max_tokens: int = setting(128, TOKENS, ge=8, le=8192)
    same_numbers: bool = setting(
        True, "Prompts are alike only when they have the same numbers: embedders hardly see them."
    )
