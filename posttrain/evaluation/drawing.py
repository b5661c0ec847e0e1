"""Random outputs that do not depend on the batch they were made in.

The Gumbel trick: the likeliest token after adding noise of -log(-log u) to each log-probability is a token drawn with
that probability. Each row brings noise of its own, seeded by prompt and number, so a kept output is the one that any
other run would have drawn (in float32, as with greedy batches). Knows nothing of tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any


class Draws:
    """A logits processor for greedy generation that makes it a draw at `temperature`; one for each batch.

    `rows`: for each row the prompt's tokens and the number of the draw.
    """

    def __init__(self, rows: Sequence[tuple[Sequence[int], int]], temperature: float, seed: int, device: Any) -> None:
        import torch

        self.temperature = temperature
        self.chances = [torch.Generator(device=device).manual_seed(_seed(ids, number, seed)) for ids, number in rows]

    def __call__(self, ids: Any, scores: Any) -> Any:
        """`scores` (rows, vocabulary), which may hold -inf: scores / temperature with noise."""
        import torch

        waits = torch.empty_like(scores, dtype=torch.float32)
        for row, chance in enumerate(self.chances):
            waits[row].exponential_(generator=chance)
        return scores.float() / self.temperature - waits.log()


def _seed(ids: Sequence[int], number: int, seed: int) -> int:
    told = json.dumps([list(ids), number, seed]).encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=7).digest(), "big")
