"""The funnel: how many rows went into each curation step, how many came out, why, and the first few that did not.

Knows nothing of what any step does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from posttrain.artifacts import Frozen
from posttrain.data.rows import shorten

EXAMPLES = 10


class FunnelStep(Frozen):
    """One step: rows before and after, how many of the difference wait for review, why, and the first rows it set
    aside or changed, in words."""

    step: str
    rows_in: int
    rows_out: int
    reason: str
    examples: tuple[str, ...]
    review: int = 0


@dataclass
class Funnel:
    """Keeps count while rows pass through the steps."""

    steps: list[FunnelStep] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows that came out of the last step."""
        return self.steps[-1].rows_out if self.steps else 0

    def note(
        self, step: str, rows_in: int, rows_out: int, reason: str, examples: Sequence[str] = (), review: int = 0
    ) -> None:
        """Add a step."""
        shown = tuple(examples[:EXAMPLES])
        made = FunnelStep(step=step, rows_in=rows_in, rows_out=rows_out, reason=reason, examples=shown, review=review)
        self.steps.append(made)

    def story(self) -> str:
        """The funnel on one line, for an error message."""
        return ", ".join(f"{step.step} {step.rows_in:,} to {step.rows_out:,}" for step in self.steps)


def in_words(rows: pl.DataFrame, found: pl.DataFrame, limit: int = EXAMPLES) -> list[str]:
    """The first few findings about these rows: where, what was found, and what the row says."""
    first = found.sort("row").head(limit)
    return [
        f"{row['source']}: {finding['value']} | {shorten(row['prompt'])}"
        for finding, row in zip(first.to_dicts(), rows[first["row"].to_list()].to_dicts(), strict=True)
    ]


def merged(parts: Sequence[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Examples by step from several batches, in the order of the batches, at most `EXAMPLES` of each."""
    together: dict[str, list[str]] = {}
    for part in parts:
        for step, shown in part.items():
            together[step] = (together.get(step, []) + shown)[:EXAMPLES]
    return together
