"""Rows on disk between the two passes: written once, batch by batch, and read back in the same batches.

An Arrow file without compression: reading some columns, or the batches that hold some rows, touches no others, and
nothing of the file stays in memory. Knows nothing of what rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from posttrain.data.table import Table


class Spool:
    """A temporary file of rows. Use as a context manager while writing; then read."""

    INDEX: ClassVar[str] = Table.INDEX

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = list(columns)
        self._sizes: list[int] = []
        self._schema = pa.schema([(name, pa.large_string()) for name in columns])
        self._writer = pa.ipc.new_file(str(path), self._schema)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    @property
    def rows(self) -> int:
        """Rows that were written."""
        return sum(self._sizes)

    def write(self, rows: pl.DataFrame) -> None:
        """Add a batch; what it has beyond the columns is left out."""
        if rows.height:
            table = rows.select(self.columns).to_arrow().cast(self._schema).combine_chunks()
            self._writer.write_table(table, max_chunksize=rows.height)
            self._sizes.append(rows.height)

    def batches(self, flags: np.ndarray | None = None, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows that are flagged, or all, in order; only these columns, if given.

        The column INDEX (Int64) is the row's position among all that were written.
        """
        names = [name for name in self.columns if columns is None or name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=[self.columns.index(name) for name in names])
        start = 0
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_file(source, options=options) as file:
            for number, size in enumerate(self._sizes):
                places = np.arange(start, start + size)
                start += size
                wanted = None if flags is None else flags[places]
                if wanted is None or wanted.any():
                    yield _frame(file.get_batch(number), places, wanted)

    def at(self, positions: np.ndarray, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows at these positions, ascending, in batches."""
        flags = np.zeros(self.rows, bool)
        flags[positions] = True
        return self.batches(flags, columns)


def _frame(batch: pa.RecordBatch, places: np.ndarray, wanted: np.ndarray | None) -> pl.DataFrame:
    if wanted is not None:
        # By Arrow, which copies what stays: Polars would keep all texts of the batch in memory.
        batch, places = batch.filter(pa.array(wanted)), places[wanted]
    return pl.DataFrame(pa.table(batch)).with_columns(pl.Series(Spool.INDEX, places, dtype=pl.Int64))
