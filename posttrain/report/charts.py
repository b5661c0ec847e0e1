"""Geometry of the page's charts: numbers in, positions in percent out; the template draws them.

Positions in percent and text outside the drawing keep a chart readable at any width. Knows nothing of HTML.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posttrain.wording import number

MOST_POINTS = 400


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place in percent from the left or the top, and its text."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """A series: SVG points in a box of 100 by 100, and its last value as text."""

    name: str
    points: str
    last: str


@dataclass(frozen=True)
class Whisker:
    """A point with its interval, all in percent from the left and the top."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class LineChart:
    """Series over steps, with ticks on both axes; `whiskers` and the height of a `target` where there are any."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_name: str = "optimizer steps"
    whiskers: tuple[Whisker, ...] = ()
    target: float | None = None


@dataclass(frozen=True)
class Mark:
    """A value with its interval on a strip, all in percent from the left; `low` and `high` may be None."""

    label: str
    value: str
    interval: str
    place: float
    low: float | None
    high: float | None
    tone: str
    group: str = ""


@dataclass(frozen=True)
class Strip:
    """One metric: marks over a common scale, and the target's place when there is one."""

    metric: str
    meaning: str
    marks: tuple[Mark, ...]
    scale: tuple[str, str]
    target: float | None
    target_text: str


def line_chart(title: str, series: Mapping[str, Sequence[tuple[int, float]]]) -> LineChart | None:
    """Series name → (step, value); None when no value is finite."""
    finite = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return None
    steps = [x for points in finite.values() for x, _ in points]
    values = [y for points in finite.values() for _, y in points]
    x_ticks = nice_ticks(min(steps), max(steps), 6, whole=True)
    y_ticks = nice_ticks(min(0.0, *values), max(values), 5)
    left, right = min(x_ticks[0], min(steps)), max(steps)
    bottom, top = y_ticks[0], y_ticks[-1]
    lines = tuple(
        Line(
            name,
            " ".join(f"{_share(x, left, right):.2f},{100 - _share(y, bottom, top):.2f}" for x, y in thinned(points)),
            number(points[-1][1]),
        )
        for name, points in finite.items()
    )
    return LineChart(
        title,
        lines,
        tuple(Tick(_share(x, left, right), f"{x:g}") for x in x_ticks if left <= x <= right),
        tuple(Tick(100 - _share(y, bottom, top), f"{y:g}") for y in y_ticks),
    )


def interval_chart(
    title: str, x_name: str, points: Sequence[tuple[int, float, float, float]], target: float | None
) -> LineChart:
    """Points of (x, value, low, high) joined by a line, each with its interval; x from 0."""
    x_ticks = nice_ticks(0, max(x for x, *_ in points), 4, whole=True)
    heights = [height for _, *all_three in points for height in all_three] + ([] if target is None else [target])
    y_ticks = nice_ticks(min(0.0, *heights), max(heights), 5)
    right, bottom, top = x_ticks[-1], y_ticks[0], y_ticks[-1]

    def across(x: float) -> float:
        return _share(x, 0, right)

    def down(y: float) -> float:
        return 100 - _share(y, bottom, top)

    line = Line(title, " ".join(f"{across(x):.2f},{down(y):.2f}" for x, y, _, _ in points), number(points[-1][1]))
    return LineChart(
        title,
        (line,),
        tuple(Tick(across(x), f"{x:,.0f}") for x in x_ticks),
        tuple(Tick(down(y), f"{y:g}") for y in y_ticks),
        x_name,
        tuple(Whisker(across(x), down(y), down(low), down(high)) for x, y, low, high in points),
        None if target is None else down(target),
    )


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `MOST_POINTS`, evenly spaced, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return list(points)
    return [points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def nice_ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) that cover `low` to `high`."""
    span = (high - low) or abs(high) or 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 10) for place in range(first, max(last, first + 1) + 1)]


def strip(
    metric: str, meaning: str, rows: Sequence[tuple[str, float, float | None, float | None, str]], target: float | None
) -> Strip:
    """Rows of label, value, low, high and tone; shares are drawn from 0 to 1, anything else up to its largest."""
    largest = max([target or 0.0, *(high if high is not None else value for _, value, _, high, _ in rows)])
    top = 1.0 if largest <= 1.0 else nice_ticks(0, largest, 4)[-1]

    def mark(label: str, value: float, low: float | None, high: float | None, tone: str) -> Mark:
        interval = f"{number(low)} – {number(high)}" if low is not None and high is not None else ""
        ends = [None if end is None else _share(end, 0, top) for end in (low, high)]
        return Mark(label, number(value), interval, _share(value, 0, top), ends[0], ends[1], tone)

    return Strip(
        metric,
        meaning,
        tuple(mark(*row) for row in rows),
        ("0", f"{top:g}"),
        None if target is None else _share(target, 0, top),
        "" if target is None else number(target),
    )


def _share(value: float, low: float, high: float) -> float:
    return 100 * min(1.0, max(0.0, (value - low) / ((high - low) or 1.0)))
