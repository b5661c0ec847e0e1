"""The first pass: examined batches of a split, in order, to files on disk and what later steps need in memory.

Memory holds sketches, findings yet to be settled and a sample; rows lie in two files: those that go on for now (the
*spool*), and those set aside. Knows no rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from posttrain.data.privacy import masked
from posttrain.data.rows import shorten
from posttrain.data.rules.registry import ROW
from posttrain.data.table import TableWriter
from posttrain.data.validate.examine import WARNINGS, Examined
from posttrain.data.validate.result import REASON
from posttrain.data.validate.sample import Sample
from posttrain.progress import Progress


@dataclass
class Count:
    """How many rows broke a rule, and the first of them in words."""

    rows: int = 0
    example: str = ""


@dataclass
class Counts:
    """How many rows broke which rule, and what became of them."""

    by: dict[tuple[str, str], Count] = field(default_factory=dict)

    def add(self, rule: str, severity: str, rows: pl.DataFrame) -> None:
        """Count rows with a column `value`: what was found."""
        if rows.height:
            count = self.by.setdefault((rule, severity), Count())
            count.rows += rows.height
            count.example = count.example or in_words(rows)


def in_words(rows: pl.DataFrame) -> str:
    """The first row: where it is, what was found, what it says; without its secrets, for this goes into reports."""
    first = rows.row(0, named=True)
    prompt = masked(pl.Series([shorten(first.get("prompt", ""))]))[0]
    return f"{first['source']}: {first['value']} | {prompt}"


class Spool:
    """A temporary Parquet file of batches as they come: neither compressed nor indexed, for it is read once. Use as a
    context manager."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self._schema = pa.schema([(name, pa.large_string()) for name in columns])
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="none", use_dictionary=False, write_statistics=False
        )

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows; what they have beyond the columns is left out."""
        lacking = [pl.lit("").alias(name) for name in self.columns if name not in rows.columns]
        self._writer.write_table(rows.with_columns(lacking).select(self.columns).to_arrow().cast(self._schema))


@dataclass
class Intake:
    """A split after the first pass. Positions of rows count those in the spool, from 0.

    `pending`: by an expectation's place in the suite, findings of those that may hold `mostly`; `asked`: of how many
    rows. `sketches`: likewise by place. `stopped`: rows that break a rule of severity stop.
    """

    split: str
    spool: Path
    aside: Path
    columns: list[str] = field(default_factory=list)
    received: int = 0
    kept: int = 0
    sample: Sample = field(default_factory=lambda: Sample([]))
    counts: Counts = field(default_factory=Counts)
    pending: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)
    sketches: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    stopped: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

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
        self.kept += batch.kept.height


def take_in(split: str, batches: Iterable[Examined], folder: Path, progress: Progress) -> Intake:
    """Write the batches of a split to files in `folder`, and keep what later steps need."""
    intake = Intake(split, folder / f".{split}.spool.parquet", folder / f".{split}.aside.parquet")
    with ExitStack() as stack:
        for batch in batches:
            if not intake.columns:
                intake.columns = [name for name in batch.kept.columns if name != WARNINGS]
                intake.sample = Sample([*intake.columns, WARNINGS])
                spool = stack.enter_context(Spool(intake.spool, [*intake.columns, WARNINGS]))
                aside = stack.enter_context(TableWriter(intake.aside, [*intake.columns, *REASON]))
            intake.note(batch)
            spool.write(batch.kept)
            aside.write(batch.gone.with_columns(pl.lit(split).alias("split")))
            progress(0, 10, f"reading {split}: {intake.received:,} rows")
    return intake
