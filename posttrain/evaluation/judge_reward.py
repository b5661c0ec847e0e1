"""A reward model as judge: the answer with the higher score is better, whichever stands first.

Knows nothing of totals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posttrain.data.steps.scoring import rewards
from posttrain.evaluation.judge import TIE, Comparison, Preference

SAME_SCORE = 1e-4
"""Scores this near are a tie: float32 sums differ by as much when a batch is put together otherwise."""


def prefers(folder: Path, compared: Sequence[Comparison], max_tokens: int) -> list[Preference]:
    """The preference of each comparison. Weights are safetensors. Raises: `ModelError`."""
    if not compared:
        return []
    asked = [(pair.system, pair.prompt, answer) for pair in compared for answer in (pair.ours, pair.other)]
    scores = rewards(folder, asked, max_tokens)[:, 0].astype(np.float64).reshape(-1, 2)
    leads = scores[:, 0] - scores[:, 1]
    near = np.abs(leads) <= SAME_SCORE * np.maximum(1, np.abs(scores).max(axis=1))
    return [
        Preference(TIE if tie else float(lead > 0)) for lead, tie in zip(leads.tolist(), near.tolist(), strict=True)
    ]
