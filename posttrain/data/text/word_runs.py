"""Runs of consecutive words as numbers, to find those of some texts in others. Knows nothing of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from posttrain.data.text.codes import Ragged, blocks, codes, folded, ideographs, mixed, ranges, words

WIDE = 2
"""Chinese or Japanese characters that count for one word. Chinese words have some 1.7 characters on average, and eight
characters are often an idiom, a title or half a line of verse; so 16 of them weigh what 8 English words weigh."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SIEVE = 24
"""Bits: the table of one byte an entry that most lookups end at has 2 ** 24 entries at most."""


@dataclass(frozen=True, eq=False)
class Runs:
    """All runs of a given length of some texts.

    `hashes` (uint64), the number of the text of each, its place there in words, its length in words, and `at`, its
    place among the words of all these texts, of which there are `words`.
    """

    hashes: np.ndarray
    texts: np.ndarray
    places: np.ndarray
    lengths: np.ndarray
    at: np.ndarray
    words: int

    def uncovered(self, hidden: np.ndarray) -> np.ndarray:
        """Whether no word of each run is a word of a `hidden` run (one flag a run)."""
        edges = np.zeros(self.words + 1, np.int64)
        np.add.at(edges, self.at[hidden], 1)
        np.add.at(edges, self.at[hidden] + self.lengths[hidden], -1)
        covered = np.concatenate(([0], np.cumsum(np.cumsum(edges[:-1]) > 0)))
        return np.asarray(covered[self.at + self.lengths] == covered[self.at])

    def where(self, kept: np.ndarray) -> Runs:
        """Some of the runs."""
        return replace(
            self,
            hashes=self.hashes[kept],
            texts=self.texts[kept],
            places=self.places[kept],
            lengths=self.lengths[kept],
            at=self.at[kept],
        )


def runs(texts: pl.Series, size: int) -> Iterator[Runs]:
    """The runs of `size` words of each text, block by block; of `WIDE` times as many where half are ideographs."""
    for start, part in blocks(texts):
        points = folded(codes(part))
        found, wide = words(points), ideographs(points)
        ordinary = _of_length(found, wide, size)
        made = [ordinary.where(_wide_share(ordinary, wide) < 0.5)]
        if wide.any():
            long = _of_length(found, wide, WIDE * size)
            made.append(long.where(_wide_share(long, wide) >= 0.5))
        yield _joined(made, start)


def _joined(made: list[Runs], start: int) -> Runs:
    """The runs of both lengths, of texts numbered from `start`."""
    hashes, texts, places, lengths, at = (
        np.concatenate([getattr(some, name) for some in made])
        for name in ("hashes", "texts", "places", "lengths", "at")
    )
    return Runs(hashes, texts + start, places, lengths, at, made[0].words)


def _of_length(found: Ragged, wide: np.ndarray, length: int) -> Runs:
    counts = np.maximum(found.lengths - length + 1, 0)
    at = ranges(found.starts, counts)
    texts = np.repeat(np.arange(found.rows), counts)
    every = found.values[: max(0, len(found.values) - length + 1)].copy()
    for offset in range(1, length):
        every *= _FACTOR
        every += found.values[offset : offset + len(every)]
    return Runs(mixed(every[at]), texts, at - found.starts[texts], np.full(len(at), length), at, len(found.values))


def _wide_share(some: Runs, wide: np.ndarray) -> np.ndarray:
    before = np.concatenate(([0], np.cumsum(wide)))
    return np.asarray((before[some.at + some.lengths] - before[some.at]) / np.maximum(some.lengths, 1))


@dataclass(frozen=True, eq=False)
class Lookup:
    """Finds numbers (uint64) among many, ascending and each there once."""

    values: np.ndarray

    def find(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(place in `wanted`, place among the values) of those wanted that are there."""
        if not len(self.values):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        # Most are not there, and a look at one byte tells; a binary search takes twenty looks at memory.
        likely = np.flatnonzero(self._sieve[(wanted & self._mask).astype(np.int64)])
        places = np.searchsorted(self.values, wanted[likely]).clip(max=len(self.values) - 1)
        there = self.values[places] == wanted[likely]
        return likely[there], places[there]

    @property
    def _mask(self) -> np.uint64:
        return np.uint64((1 << min(_SIEVE, len(self.values).bit_length() + 4)) - 1)

    @cached_property
    def _sieve(self) -> np.ndarray:
        """Whether there is a value with these lower bits."""
        sieve = np.zeros(int(self._mask) + 1, bool)
        sieve[(self.values & self._mask).astype(np.int64)] = True
        return sieve
