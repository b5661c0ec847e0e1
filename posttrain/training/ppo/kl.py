"""How strongly a policy is held to its reference: the coefficient of the KL penalty, update by update.

| controller | coefficient |
| --- | --- |
| `schedule` | S3's: 0.08 over the first 20 % of updates, 0.05 over the next 60 %, 0.06 over the last 20 % |
| `fixed` | one value |
| `adaptive` | raised while the measured KL is above a target, else lowered (Ziegler et al., arXiv 1909.08593) |

Knows no tensors. Its whole state is one number, which checkpoints keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Phase = tuple[float, float]
"""(share of the updates, coefficient)."""

MOST = 0.2
"""Of an adaptive step: the error is clipped to this share of the target (Ziegler)."""


def scheduled(phases: Sequence[Phase], step: int, steps: int) -> float:
    """The coefficient of update `step` (from 0) of `steps`; shares add up to 1.

    >>> [scheduled(((0.2, 0.08), (0.6, 0.05), (0.2, 0.06)), step, 10) for step in (0, 1, 2, 7, 8, 9)]
    [0.08, 0.08, 0.05, 0.05, 0.06, 0.06]
    """
    passed = 0.0
    for share, coefficient in phases:
        passed += share
        if step < round(passed * steps):
            return coefficient
    return phases[-1][1]


@dataclass
class AdaptiveKL:
    """β ← β (1 + clip(KL / target - 1, ±0.2) × completions / horizon) after every update.

    `kl` is nats a completion, as logged (`objective/kl`).
    """

    coefficient: float
    target: float
    horizon: int

    def update(self, kl: float, completions: int) -> None:
        """After an update whose completions had this mean KL."""
        error = min(MOST, max(-MOST, kl / self.target - 1))
        self.coefficient *= 1 + error * completions / self.horizon
