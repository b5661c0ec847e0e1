"""What a curation step is: a named, pure function from rows to findings. Two sorts, by how many rows it must see.

| sort | sees | example |
| --- | --- | --- |
| `RowStep` | some rows at a time, in any grouping, on any machine | length, word lists, decontamination |
| `TableStep` | all rows that are left | duplicates, diversity |

Steps are frozen dataclasses: they travel to worker processes and to a Ray cluster by pickling. None of them changes
or deletes anything: the driver in `sift.py` acts on what they find.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import polars as pl

from posttrain.data.engine import Engine
from posttrain.data.table import Table


@runtime_checkable
class RowStep(Protocol):
    """Looks at each row by itself; the grouping of rows into batches must not change what it finds."""

    @property
    def name(self) -> str:
        """The rule under which rows are set aside: one word, e.g. "harm"."""

    @property
    def reason(self) -> str:
        """What it sets aside, in words, for the funnel."""

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Findings (`findings.SCHEMA`) about a batch of rows; `row` counts within the batch."""


@runtime_checkable
class TableStep(Protocol):
    """Compares rows with each other; reads the table as a stream, and keeps only small sketches of it in memory."""

    @property
    def name(self) -> str:
        """The rule under which rows are set aside: one word, e.g. "near_duplicate"."""

    @property
    def reason(self) -> str:
        """What it sets aside, in words, for the funnel."""

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """Findings (`findings.SCHEMA`) about the table's rows; `row` is the position in its file (`Table.INDEX`)."""
