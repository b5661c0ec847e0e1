"""A table of rows on disk, read in batches, so that it may be larger than memory. Knows nothing of what rows mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from posttrain.artifacts import DatasetRef, file_digest
from posttrain.errors import DataError

BATCH = 10_000
"""Rows a batch: some ten megabytes of text, enough for vectorised work to pay."""


@dataclass(frozen=True, eq=False)
class Table:
    """A Parquet file of rows, and which of them are still there (`alive`, one flag a row of the file; None: all).

    Batches carry the row's position in the file as the column `Table.INDEX` (Int64).
    """

    INDEX: ClassVar[str] = "__row"

    path: Path
    alive: np.ndarray | None = None

    @property
    def stored(self) -> int:
        """Rows in the file, whether alive or not."""
        return int(pq.read_metadata(self.path).num_rows)

    @property
    def columns(self) -> list[str]:
        """The names of the file's columns, in its order."""
        return list(pq.read_schema(self.path).names)

    @property
    def rows(self) -> int:
        """Rows that are there."""
        return self.stored if self.alive is None else int(self.alive.sum())

    def without(self, positions: Sequence[int] | np.ndarray) -> Table:
        """The same table less the rows at these positions of the file."""
        alive = np.ones(self.stored, bool) if self.alive is None else self.alive.copy()
        alive[np.asarray(positions, dtype=np.int64)] = False
        return replace(self, alive=alive)

    def only(self, positions: Sequence[int] | np.ndarray) -> Table:
        """The rows at these positions of the file, whether they were there or not."""
        alive = np.zeros(self.stored, bool)
        alive[np.asarray(positions, dtype=np.int64)] = True
        return replace(self, alive=alive)

    @property
    def positions(self) -> np.ndarray:
        """Where in the file the rows that are there stand, ascending."""
        return np.arange(self.stored) if self.alive is None else np.flatnonzero(self.alive)

    def batches(self, columns: Sequence[str] | None = None, size: int | None = None) -> Iterator[pl.DataFrame]:
        """The rows that are there, in order; only these columns, if given. Raises `DataError` for a broken file."""
        at = 0
        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:  # else it keeps all it has read
                for batch in file.iter_batches(size or BATCH, columns=list(columns) if columns is not None else None):
                    here = slice(at, at + batch.num_rows)
                    at, index = here.stop, np.arange(here.start, here.stop)
                    if self.alive is not None:
                        # By Arrow, which copies what stays: Polars would keep all texts of the batch in memory.
                        there = self.alive[here]
                        batch, index = batch.filter(pa.array(there)), index[there]
                    if batch.num_rows:
                        yield pl.DataFrame(pa.table(batch)).with_columns(pl.Series(self.INDEX, index, dtype=pl.Int64))
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: the file is gone; run the pipeline again") from error
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.path}: not a Parquet file ({error}); remove its folder and run again") from error

    def frame(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All rows that are there, in memory: for small tables and tests."""
        found = list(self.batches(columns))
        return pl.concat(found) if found else self._empty(columns)

    def _empty(self, columns: Sequence[str] | None) -> pl.DataFrame:
        names = columns if columns is not None else pq.read_schema(self.path).names
        return pl.DataFrame(schema={**dict.fromkeys(names, pl.String), self.INDEX: pl.Int64})


class TableWriter:
    """Writes batches of rows (all columns text) to one Parquet file. Use as a context manager.

    The columns are fixed by the first argument; what a batch lacks is "", what it has beyond them is left out. The
    same rows in the same order give the same bytes, whatever the batches were.
    """

    GROUP = 50_000
    """Rows of a Parquet row group, which wait in memory until they are complete."""

    def __init__(self, path: Path, columns: Sequence[str], group: int | None = None) -> None:
        self.path = path
        self.group = group or self.GROUP
        self.columns = tuple(columns)
        self.rows = 0
        self._schema = pa.schema([(name, pa.string()) for name in self.columns])
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", compression_level=1)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush(everything=True)
        self._writer.close()

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows."""
        lacking = [pl.lit("").alias(name) for name in self.columns if name not in rows.columns]
        # As Arrow's plain text, which is a copy: rows picked out of a batch would keep all of its texts in memory.
        self._waiting.append(rows.with_columns(lacking).select(self.columns).to_arrow().cast(self._schema))
        self._waiting_rows += rows.height
        self.rows += rows.height
        if self._waiting_rows >= self.group:
            self._flush(everything=False)

    def _flush(self, everything: bool) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        while table.num_rows >= self.group or (everything and table.num_rows):
            self._writer.write_table(table.slice(0, self.group).combine_chunks(), row_group_size=self.group)
            table = table.slice(self.group)
        self._waiting, self._waiting_rows = ([table.combine_chunks()] if table.num_rows else []), table.num_rows

    def ref(self, final: Path) -> DatasetRef:
        """The reference of the closed file, as it will lie in the folder `final`."""
        return DatasetRef(uri=str(final / self.path.name), fingerprint=file_digest(self.path), rows=self.rows)
