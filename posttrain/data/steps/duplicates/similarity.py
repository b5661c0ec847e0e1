"""Jaccard similarity of pairs of texts, counted shingle by shingle. Knows nothing of where the pairs come from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from posttrain.data.engine import Engine
from posttrain.data.steps.duplicates.sketch import shingled
from posttrain.data.text.codes import Ragged, blocks

PAIRS = 4_000
"""Pairs a work item, at most."""
CHARACTERS = 2_000_000
"""Characters a work item, about."""
AT_ONCE = 500
"""Pairs whose shingles fit the processor's cache, about."""


class TextFile:
    """Texts in a temporary file, to be read again in any order. Use as a context manager; the file goes with it."""

    def __init__(self, folder: Path, count: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self.count = count
        self._stops = np.zeros(count + 1, np.int64)
        self._done = 0

    def __enter__(self) -> TextFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, texts: pl.Series) -> None:
        """Add texts; they are numbered in the order in which they come."""
        self._file.write("".join(texts.to_list()).encode())
        stops = texts.str.len_bytes().cum_sum().to_numpy() + self._stops[self._done]
        self._stops[self._done + 1 : self._done + 1 + len(stops)] = stops
        self._done += len(stops)

    def sizes(self) -> np.ndarray:
        """Bytes of each text."""
        return np.diff(self._stops)

    def read(self, numbers: np.ndarray) -> pl.Series:
        """The texts with these numbers."""
        self._file.flush()
        starts, stops = self._stops[numbers].tolist(), self._stops[numbers + 1].tolist()
        file = self._file.fileno()
        found = [os.pread(file, stop - start, start).decode() for start, stop in zip(starts, stops, strict=True)]
        return pl.Series(found, dtype=pl.String)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Some texts, and which of them are to be compared: a work item. `first` and `second` count within `texts`."""

    texts: pl.Series
    first: np.ndarray
    second: np.ndarray


def similarities(file: TextFile, first: np.ndarray, second: np.ndarray, engine: Engine) -> np.ndarray:
    """Jaccard similarity (float64) of the texts with these numbers, pair by pair."""
    found = [*engine.map(_compared, _items(file, first, second))]
    return np.concatenate([np.zeros(0), *found])


def _items(file: TextFile, first: np.ndarray, second: np.ndarray) -> Iterator[Pairs]:
    """Pairs in groups that are read and compared at once."""
    weight = np.cumsum(file.sizes()[second] + CHARACTERS // PAIRS) // CHARACTERS
    cuts = [0, *(np.flatnonzero(np.diff(weight)) + 1).tolist(), len(first)]
    for start, stop in pairwise(cuts):
        if stop > start:
            numbers, at = np.unique(np.concatenate((first[start:stop], second[start:stop])), return_inverse=True)
            yield Pairs(file.read(numbers), at[: stop - start], at[stop - start :])


def _compared(pairs: Pairs) -> np.ndarray:
    """Size of the common part by size of the whole, for each pair."""
    from scipy import sparse

    parts = [_distinct(shingled(part)) for _, part in blocks(pairs.texts)]
    counts = np.concatenate([part.lengths for part in parts])
    values = np.concatenate([part.values for part in parts])
    # A sparse row holds a text's shingles as column numbers; SciPy multiplies two rows by walking along both.
    shape = (len(counts), 1 << 62)
    table = sparse.csr_array((np.ones(len(values), np.int8), values, np.concatenate(([0], np.cumsum(counts)))), shape)
    common = np.empty(len(pairs.first), np.int64)
    for start in range(0, len(common), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        common[part] = np.diff(table[pairs.first[part]].multiply(table[pairs.second[part]]).indptr)
    whole = counts[pairs.first] + counts[pairs.second] - common
    return np.asarray(common / np.maximum(whole, 1))


def _distinct(found: Ragged) -> Ragged:
    """The distinct shingles of each text in ascending order, 44 bits of each: enough for texts of millions of them."""
    keys = np.sort((found.owners().astype(np.uint64) << np.uint64(44)) | (found.values >> np.uint64(20)))
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    keys = keys[new]
    stops = np.searchsorted(keys >> np.uint64(44), np.arange(found.rows), side="right")
    starts = np.concatenate(([0], stops[:-1]))
    return Ragged((keys & np.uint64((1 << 44) - 1)).astype(np.int64), starts, stops)
