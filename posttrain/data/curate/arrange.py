"""Rows into their final order: chosen rows of several tables, shuffled, written to one file without holding them all.

An external shuffle: every row knows its place in the result beforehand; rows are dealt to as many temporary files
as needed for one of them to fit into memory, and each of those is then put in order. Knows nothing of why rows were
chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl

from posttrain.data.table import Table, TableWriter

DEALT = 200_000
"""Rows that are put in order at a time."""

_PLACE = "__place"

Chosen = tuple[Table, np.ndarray]
"""A table and the positions in its file of the rows to take, in any order; one that comes twice is taken twice."""


def write_shuffled(path: Path, chosen: Sequence[Chosen], columns: Sequence[str], seed: int) -> TableWriter:
    """Write the chosen rows to `path` in random order; the same choice and seed give the same bytes."""
    total = sum(len(positions) for _, positions in chosen)
    places = np.random.default_rng(seed).permutation(total)
    piles = [path.with_name(f".{path.name}.{number}") for number in range(max(1, -(-total // DEALT)))]
    with ExitStack() as stack:
        group = max(500, DEALT // len(piles))
        writers = [stack.enter_context(TableWriter(pile, (*columns, _PLACE), group)) for pile in piles]
        start = 0
        for table, positions in chosen:
            _deal(table, positions, places[start : start + len(positions)], writers)
            start += len(positions)
    writer = TableWriter(path, columns)
    with writer:
        for pile in piles:
            frame = Table(pile).frame()
            writer.write(frame.sort(pl.col(_PLACE).cast(pl.Int64)))
            pile.unlink()
    return writer


def write_in_order(path: Path, table: Table, columns: Sequence[str]) -> TableWriter:
    """Write the rows of a table that are there, as they come."""
    writer = TableWriter(path, columns)
    with writer:
        for batch in table.batches():
            writer.write(batch)
    return writer


def _deal(table: Table, positions: np.ndarray, places: np.ndarray, writers: Sequence[TableWriter]) -> None:
    order = np.argsort(positions, kind="stable")
    positions, places = positions[order], places[order]
    for batch in table.only(np.unique(positions)).batches():
        index = batch[Table.INDEX].to_numpy()
        first, last = np.searchsorted(positions, [index[0], index[-1] + 1])
        rows = batch[np.searchsorted(index, positions[first:last])]
        rows = rows.with_columns(pl.Series(_PLACE, places[first:last]))
        for number, writer in enumerate(writers):
            mine = rows.filter(pl.col(_PLACE) // DEALT == number)
            if mine.height:
                writer.write(mine.with_columns(pl.col(_PLACE).cast(pl.String)))
