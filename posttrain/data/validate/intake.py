"""The first pass: examined batches of a split, in order, to files on disk and what later steps need in memory.

Memory holds sketches, findings yet to be settled and a sample; rows lie in two files: those that go on for now (the
*spool*), and those set aside. Knows no rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from posttrain.data.funnel import EXAMPLES
from posttrain.data.rows import shorten
from posttrain.data.rules.registry import ROW
from posttrain.data.table import TableWriter
from posttrain.data.text.privacy import masked
from posttrain.data.validate.examine import WARNINGS, Examined
from posttrain.data.validate.result import REASON
from posttrain.data.validate.sample import Sample, copied
from posttrain.data.validate.spool import Spool
from posttrain.progress import Progress


@dataclass
class Count:
    """How many rows broke a rule, and the first of them in words."""

    rows: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Counts:
    """How many rows broke which rule, and what became of them."""

    by: dict[tuple[str, str], Count] = field(default_factory=dict)

    def add(self, rule: str, severity: str, rows: pl.DataFrame) -> None:
        """Count rows with a column `value`: what was found."""
        if rows.height:
            count = self.by.setdefault((rule, severity), Count())
            count.rows += rows.height
            count.examples += in_words(rows.head(EXAMPLES - len(count.examples)))


def in_words(rows: pl.DataFrame) -> list[str]:
    """Each row: where it is, what was found, what it says; without its secrets, for this goes into reports."""
    if not rows.height:
        return []
    prompts = rows["prompt"] if "prompt" in rows.columns else pl.repeat("", rows.height, dtype=pl.String, eager=True)
    shown = masked(pl.Series([shorten(prompt) for prompt in prompts], dtype=pl.String))
    return [
        f"{source}: {value} | {prompt}"
        for source, value, prompt in zip(rows["source"], rows["value"], shown, strict=True)
    ]


@dataclass
class Intake:
    """A split after the first pass. Positions of rows count those in the spool, from 0.

    `pending`: by an expectation's place in the suite, findings of those that may hold `mostly`; `asked`: of how many
    rows. `sketches`: likewise by place. `stopped`: rows that break a rule of severity stop.
    """

    split: str
    folder: Path
    columns: list[str] = field(default_factory=list)
    received: int = 0
    spool: Spool = field(init=False)
    sample: Sample = field(default_factory=lambda: Sample([]))
    counts: Counts = field(default_factory=Counts)
    pending: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)
    sketches: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    stopped: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    @property
    def aside(self) -> Path:
        """Where the rows lie that the first pass set aside."""
        return self.folder / f".{self.split}.aside.parquet"

    @property
    def kept(self) -> int:
        """Rows that go on for now."""
        return self.spool.rows

    def note(self, batch: Examined) -> None:
        """Take note of the next batch, whose rows are written by `take_in`."""
        for (rule,), rows in batch.gone.group_by("rule", maintain_order=True):
            self.counts.add(str(rule), "quarantine", rows)
        for name, rows in batch.stopped.items():
            self.stopped.setdefault(name, []).append(rows)
        for order, found in batch.pending.items():
            self.pending.setdefault(order, []).append(found.with_columns(pl.col("row") + self.kept))
            self.asked[order] = self.asked.get(order, 0) + batch.asked[order]
        for order, sketch in batch.sketches.items():
            place = (pl.col(ROW) + self.kept).cast(pl.UInt32)
            self.sketches.setdefault(order, []).append(sketch.with_columns(place))
        at = np.arange(self.kept, self.kept + batch.kept.height)
        self.sample.add(batch.kept, batch.kept_at + self.received, at, pl.repeat("", batch.kept.height, eager=True))
        self.sample.add(batch.gone, batch.gone_at + self.received, np.full(batch.gone.height, -1), batch.gone["rule"])
        self.received += batch.received


def take_in(split: str, batches: Iterable[Examined], folder: Path, progress: Progress) -> Intake:
    """Write the batches of a split to files in `folder`, and keep what later steps need."""
    intake = Intake(split, folder)
    with ExitStack() as stack:
        for batch in batches:
            if not intake.columns:
                intake.columns = [name for name in batch.kept.columns if name != WARNINGS]
                intake.sample = Sample([*intake.columns, WARNINGS])
                intake.spool = Spool(folder / f".{split}.spool.arrow", [*intake.columns, WARNINGS])
                stack.enter_context(intake.spool)
                aside = stack.enter_context(TableWriter(intake.aside, [*intake.columns, *REASON]))
            intake.note(batch)
            intake.spool.write(batch.kept)
            aside.write(copied(batch.gone.with_columns(pl.lit(split).alias("split"))))
            progress(0, 10, f"reading {split}: {intake.received:,} rows")
    return intake
