"""Geometry of charts, by numbers worked out by hand."""

from __future__ import annotations

import pytest

from posttrain.report.charts import line_chart, nice_ticks, strip, thinned
from posttrain.wording import duration, number


def test_a_line_is_drawn_where_its_numbers_lie() -> None:
    """Steps 0 to 100 span the width; losses 0 to 4 the height, zero at the bottom."""
    chart = line_chart("Loss", {"loss": [(0, 4.0), (50, 1.0), (100, 0.0), (75, float("nan"))]})
    assert chart is not None
    assert chart.lines[0].points == "0.00,0.00 50.00,75.00 100.00,100.00"
    assert [tick.text for tick in chart.y_ticks] == ["0", "1", "2", "3", "4"]
    assert [tick.place for tick in chart.y_ticks] == [100, 75, 50, 25, 0]
    assert line_chart("Loss", {"loss": [(0, float("nan"))]}) is None


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    points = thinned([(i, float(i)) for i in range(5_000)])
    assert len(points) == 400
    assert (points[0], points[-1]) == ((0, 0.0), (4_999, 4_999.0))


def test_strips_share_one_scale() -> None:
    """A perplexity of 24.5 with an upper end of 26 is drawn on 0 to 30, so 24.5 lies at 81.7 percent."""
    drawn = strip("perplexity", "", [("a", 24.5, 23.0, 26.0, "plain")], target=None)
    assert drawn.scale == ("0", "30")
    assert drawn.marks[0].place == pytest.approx(100 * 24.5 / 30)
    shares = strip("slot_f1", "", [("a", 0.5, 0.4, 0.6, "plain")], target=0.8)
    assert (shares.scale, shares.marks[0].place, shares.target) == (("0", "1"), 50.0, 80.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 4, [0, 1, 2, 3, 4]), (0, 0.7, [0, 0.2, 0.4, 0.6, 0.8]), (3, 3, [3, 4])]
)
def test_ticks_are_round_and_cover_the_values(low: float, high: float, expected: list[float]) -> None:
    assert nice_ticks(low, high, 4)[: len(expected)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (9.97, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3_900, "1 h 05 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_keep_what_matters() -> None:
    assert [number(value) for value in (0.8124, 24.51, 1204.4, float("inf"))] == ["0.812", "24.5", "1,204", "–"]
