"""Two runs beside each other: metrics with paired tests, slices, wins and losses, and the outputs that changed.

Knows nothing of where runs are found.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field

from posttrain.artifacts import Frozen, write_atomic
from posttrain.evaluation.scores import Scores
from posttrain.registry.comparison import MetricPair, side_by_side
from posttrain.report.changes import ROWS, compare_outputs, on_common_rows
from posttrain.report.charts import Strip
from posttrain.report.content import Changes, ScoreLine
from posttrain.report.figures import strips
from posttrain.report.page import shown_changes
from posttrain.report.templates import environment


class Side(Frozen):
    """One of the two runs, and the measurement of it that is compared."""

    name: str = Field(description="What it was asked for by")
    pipeline: str
    ending: str
    headline: str
    model: str = Field(description="Which of the run's models: Test, DPO, Base, few-shot, …")
    run_id: str
    model_uri: str | None = None
    scores: Scores


class Comparison(Frozen):
    """Everything that `posttrain compare` says; gains are the second's over the first."""

    first: Side
    second: Side
    split: str
    common: int = Field(description="Rows that both were asked in the same words")
    only_first: int
    only_second: int
    pairs: tuple[MetricPair, ...]
    changes: Changes | None

    @property
    def warning(self) -> str:
        """What to know of the rows before any figure is read; empty when both answered the same."""
        if not self.common:
            return "The two runs share no row, so nothing can be compared but each one's own scores."
        if not self.only_first and not self.only_second:
            return ""
        return (
            f"The two runs were not measured on the same {self.split} rows: {self.common:,} are common, and only these "
            f"are compared; {self.only_first:,} are only in the first, {self.only_second:,} only in the second."
        )


def compare_runs(first: Side, second: Side, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare two measurements on the rows that both were asked in the same words.

    A row's id says where it stood, not what it said, so rows of one id and other words are left out.
    """
    changes = compare_outputs("A", first.scores, "B", second.scores, ROWS)
    with TemporaryDirectory() as folder:
        alike = on_common_rows(first.scores, second.scores, Path(folder))
        pairs = side_by_side(*alike, resamples, seed)
    return Comparison(
        first=first,
        second=second,
        split=second.scores.split,
        common=changes.compared if changes else 0,
        only_first=changes.only_before if changes else first.scores.rows,
        only_second=changes.only_after if changes else second.scores.rows,
        pairs=pairs,
        changes=changes,
    )


def render_comparison(found: Comparison) -> str:
    """The comparison as one HTML page that needs nothing beside it."""
    whole = [pair for pair in found.pairs if not pair.slice]
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            found=found,
            sides=(("A", found.first), ("B", found.second)),
            whole=whole,
            slices={name: [pair for pair in found.pairs if pair.slice == name] for name in _slices(found)},
            strips=_strips(found),
            changes=shown_changes((found.changes,)) if found.changes else [],
        )
    )


def write_comparison(found: Comparison, path: Path) -> Path:
    """Write the page; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render_comparison(found))
    return path


def _slices(found: Comparison) -> list[str]:
    return list(dict.fromkeys(pair.slice for pair in found.pairs if pair.slice))


def _strips(found: Comparison) -> list[Strip]:
    """One strip a metric, both runs on it."""
    lines = [ScoreLine(label=name, scores=side.scores) for name, side in (("A", found.first), ("B", found.second))]
    return strips(lines, {})
