"""How much alike two short texts are: the Jaccard similarity of their runs of four characters, counted exactly.

For prompts by the thousand, held in memory; for millions of rows there are curation's duplicate steps.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posttrain.data.text.words import key

Runs = NDArray[np.uint64]

RUN = 4
"""Characters: prompts are too short for runs of words, and some languages have no spaces."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def runs(text: str) -> Runs:
    """The runs of four characters of the text reduced to its words, blanks at both ends included.

    Sorted digests of 64 bits, which two different runs share about never.
    """
    plain = f" {key(text)} ".ljust(RUN)
    points = np.frombuffer(plain.encode("utf-32-le"), np.uint32).astype(np.uint64)
    digests = points[: len(points) - RUN + 1].copy()
    for offset in range(1, RUN):
        digests = digests * _FACTOR + points[offset : len(points) - RUN + 1 + offset]
    return np.unique(digests)


def jaccard(first: Runs, second: Runs) -> float:
    """Shared runs over all runs, 0 to 1."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def repeats(texts: Sequence[str], threshold: float, given: int = 0) -> dict[int, tuple[int, float]]:
    """Texts that are at least `threshold` like an earlier one that stays: index → (index of that one, similarity).

    The first `given` texts stay in any case. Exact, and fast where runs are rare: of two sets with similarity t, each
    has one of its rarest (1 - t) in common with the other.
    """
    sets = [runs(text) for text in texts]
    frequency = Counter(run for found in sets for run in found.tolist())
    at: dict[int, list[int]] = defaultdict(list)
    twins: dict[int, tuple[int, float]] = {}
    for index, found in enumerate(sets):
        shared = math.ceil(len(found) * threshold - 1e-9)  # runs that any text as much alike must have too
        rarest = sorted(found.tolist(), key=lambda run: (frequency[run], run))[: len(found) - shared + 1]
        candidates = sorted({other for run in rarest for other in at[run]}) if index >= given else []
        alike = ((other, jaccard(found, sets[other])) for other in candidates)
        if twin := next((pair for pair in alike if pair[1] >= threshold), None):
            twins[index] = twin
            continue
        for run in rarest:
            at[run].append(index)
    return twins
