"""Small arithmetic of recipes: curves between known points, rounding, counts of updates, numbers in words."""

from __future__ import annotations

import math
from collections.abc import Sequence


def updates(rows: int, epochs: float, batch_size: int) -> int:
    """Optimiser updates of a training, counted as transformers does: a last, smaller batch is one too."""
    return max(1, math.ceil(epochs * math.ceil(rows / batch_size)))


def interpolated(points: Sequence[tuple[float, float]], at: float) -> float:
    """Piecewise linear through `points` (sorted by x), continued along the first and the last piece."""
    index = next((i for i in range(1, len(points)) if at <= points[i][0]), len(points) - 1)
    (left, low), (right, high) = points[index - 1], points[index]
    return low + (high - low) * (at - left) / (right - left)


def rounded(value: float) -> float:
    """To two digits."""
    return float(f"{value:.2g}")


def human(count: float) -> str:
    """A count as people write it: 4.3M, 7B."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"
