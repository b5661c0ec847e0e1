"""Numbers as people say them, alike on the terminal and on the page. Knows nothing of either."""

from __future__ import annotations

import math


def number(value: float | None) -> str:
    """Three decimals below ten, fewer above: 0.812, 23.4, 1,204; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 20 s, 1 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
