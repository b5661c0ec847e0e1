"""`evaluate`: how models are measured."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class EvaluateSpec(Frozen):
    """How models are measured; the same prompts as in training."""

    baseline_rows: int = setting(200, "Validation rows on which the untrained base is measured.", ge=1)
    few_shot_examples: int = setting(4, "Worked examples in the few-shot prompt; 0: no few-shot baseline.", ge=0)
    max_new_tokens: int = setting(160, "Tokens generated for a row, at most.", ge=1)
    batch_size: int = setting(64, "Rows generated together.", ge=1)
    resamples: int = setting(2000, "Bootstrap resamples behind every interval and paired test.", ge=1)
    perplexity_rows: int = setting(200, "General rows whose perplexity is measured.", ge=1)
    seed: int = setting(0, "Of the bootstrap and of the few-shot examples.", ge=0)
