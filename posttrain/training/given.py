"""Pairs that people gave (`data.preference`), as the policy's own pairs are told, so that DPO takes either.

Knows nothing of sampling or training.
"""

from __future__ import annotations

from posttrain.artifacts import DatasetRef
from posttrain.training.result import PairsResult
from posttrain.training.rows import read


def given_pairs(preference: DatasetRef) -> PairsResult:
    """What is told of sampled pairs, of given ones: a chosen answer counts 1, a rejected one 0.

    `preference` has the columns id, system, prompt, chosen, rejected. Raises: `DataError` when it cannot be read.
    """
    rows = read(preference)
    most = max(len(rows), 1)
    return PairsResult(
        pairs=preference,
        prompts=len(rows),
        samples=2,
        kept=len(rows),
        no_margin=0,
        all_right=0,
        none_right=0,
        mean_reward=0.5,
        mean_margin=1.0,
        chosen_characters=sum(len(row["chosen"]) for row in rows) / most,
        rejected_characters=sum(len(row["rejected"]) for row in rows) / most,
        seconds=0.0,
    )
