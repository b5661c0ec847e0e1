"""Drift: are these requests of another kind than those prompts? A two-sample test on sentence vectors.

The squared maximum mean discrepancy (MMD; Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13) with a Gaussian
kernel whose width is the median distance. Its p-value is that of a permutation test: how often do two samples drawn
from both together lie as far apart? A p-value says that there is a difference, not that it matters; so beside it stands
the share of requests that are unlike every prompt. Reads vectors; knows nothing of files.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from posttrain.artifacts import Frozen

PERMUTATIONS = 500
"""The smallest p-value is 1/501."""
USUAL = 0.95
"""A request is unlike the prompts when it is farther from its nearest one than this share of prompts is from theirs."""


class Drift(Frozen):
    """How far requests lie from prompts, and how likely that is by chance."""

    distance: float = Field(description="Squared MMD, unbiased: 0 for samples of one kind, at most about 2")
    p_value: float
    unlike: float = Field(description="Share of requests unlike every prompt; 0.05 where there is no drift")
    prompts: int
    requests: int

    def __str__(self) -> str:
        return (
            f"{self.unlike:.0%} are unlike every prompt, p {self.p_value:.3f}, squared distance {self.distance:.3f} "
            f"({self.requests:,} requests against {self.prompts:,} prompts)"
        )


def measure_drift(prompts: np.ndarray, requests: np.ndarray, permutations: int = PERMUTATIONS, seed: int = 0) -> Drift:
    """The test. `prompts` and `requests`: unit vectors, shapes (m, width) and (n, width), m and n at least 2.

    The kernel of both together is computed once, (m + n)² numbers; each permutation sums parts of it.
    """
    m, n = len(prompts), len(requests)
    both = np.concatenate([prompts, requests]).astype(np.float64)
    squared = np.clip(2 - 2 * both @ both.T, 0, None)
    width = float(np.median(squared[np.triu_indices(m + n, 1)])) or 1.0
    kernel = np.exp(-squared / width)
    np.fill_diagonal(kernel, 0)
    found = _squared_mmd(kernel, np.arange(m + n) < m)
    chance = np.random.default_rng(seed)
    order = np.arange(m + n)
    as_far = sum(_squared_mmd(kernel, chance.permutation(order) < m) >= found for _ in range(permutations))
    return Drift(
        distance=found, p_value=(1 + as_far) / (1 + permutations), unlike=_unlike(squared, m), prompts=m, requests=n
    )


def _unlike(squared: np.ndarray, m: int) -> float:
    """The share of the rows from `m` on whose nearest of the first `m` is unusually far away."""
    among = squared[:m, :m].copy()
    np.fill_diagonal(among, np.inf)
    usual = np.quantile(among.min(axis=1), USUAL)
    return float(np.mean(squared[m:, :m].min(axis=1) > usual))


def _squared_mmd(kernel: np.ndarray, first: np.ndarray) -> float:
    """Unbiased estimate from a kernel with an empty diagonal; `first` says which rows are of the first sample."""
    to_first = kernel @ first.astype(np.float64)
    total = kernel.sum()
    m = int(first.sum())
    n = len(first) - m
    inside = float(to_first[first].sum())
    across = float(to_first[~first].sum())
    other = float(total - inside - 2 * across)
    return inside / (m * (m - 1)) + other / (n * (n - 1)) - 2 * across / (m * n)
