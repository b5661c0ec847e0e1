"""Metrics of two models side by side on the terminal, for `posttrain models compare` and `posttrain compare`.

Knows nothing of where the two come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.cli.row_story import safe, table
from posttrain.registry.comparison import MetricPair
from posttrain.wording import number

if TYPE_CHECKING:
    from posttrain.evaluation.scores import Score

WIDE = 110
"""Columns from which intervals fit beside the rest."""
GAIN_STYLES = {"better": "green", "worse": "yellow"}


def pair_table(title: str, headings: Sequence[str], pairs: Sequence[MetricPair], wide: bool) -> Table:
    """A row a metric: both values under their headings, what the second gains over the first, and its p."""
    lines = table(title)
    lines.pad_edge = False  # at 80 columns the two make room for the longest metric's name
    lines.add_column("metric", overflow="fold", min_width=12)
    for heading in headings:
        lines.add_column(heading, justify="right", no_wrap=True)
    lines.add_column("paired gain \\[95 %]", justify="right", no_wrap=True)
    lines.add_column("p", justify="right", no_wrap=True)
    for pair in pairs:
        lines.add_row(*_cells(pair, wide))
    return lines


def explain(console: Console, pairs: Sequence[MetricPair], split: str) -> None:
    """How many rows are behind it, and what the p-values are not."""
    rows = {pair.gain.rows for pair in pairs if pair.gain and not pair.slice and pair.metric != "perplexity"}
    if rows:
        console.print(
            f"{max(rows):,} {split} rows that both answered; a gain above 0 is better; p not corrected for "
            f"{sum(pair.gain is not None for pair in pairs)} looks",
            style="dim",
            highlight=False,
        )
    else:
        console.print("no rows that both answered, so no gain: they were measured on other data", style="yellow")


def _cells(pair: MetricPair, wide: bool) -> list[str | Text]:
    gain = pair.gain
    size = "–" if gain is None else f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    p_value = "" if gain is None else "<0.001" if gain.p_value < 0.001 else f"{gain.p_value:.3f}"
    values = (_value(score, wide) for score in (pair.first, pair.second))
    return [Text(safe(pair.label)), *values, Text(size, style=GAIN_STYLES.get(pair.verdict, "")), p_value]


def _value(score: Score | None, wide: bool) -> Text:
    if score is None:
        return Text("–")
    return Text(f"{number(score.value)} [{number(score.low)}, {number(score.high)}]" if wide else number(score.value))
