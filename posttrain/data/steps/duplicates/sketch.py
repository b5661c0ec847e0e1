"""MinHash sketches: a few numbers a text, which agree between two texts as often as the texts have shingles in common.

Fast similarity sketching (Dahlgaard, Knudsen, Thorup 2017): each shingle falls into one bin a round, and a bin keeps
its smallest value of the first round that fills it. One round does for a long text, where MinHash with as many
permutations would hash each shingle once for every bin. The chance that a bin agrees is the Jaccard similarity, as with
MinHash. Knows nothing of rows and of what becomes of the sketches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from posttrain.data.steps.duplicates.compared import REJECTED
from posttrain.data.text.codes import Ragged, blocks, codes, folded, mixed, ranges, shingles

RECALL = 0.99
"""Share of pairs at the threshold itself that the bands propose; of more similar ones it is higher (this project)."""
BINS = 128
"""Bins a sketch, at most."""
ROUNDS = 6
"""After so many rounds the few empty bins of a short text are filled one by one. Three bits tell the rounds apart."""


@dataclass(frozen=True)
class Bands:
    """How a sketch is cut into keys: texts that agree in all `width` bins of one of the bands are compared."""

    count: int
    width: int

    @property
    def bins(self) -> int:
        """Bins of a sketch."""
        return self.count * self.width

    @classmethod
    def of(cls, threshold: float) -> Bands:
        """The widest bands, hence fewest false candidates, that still propose `RECALL` of pairs at the threshold."""
        for width in range(16, 1, -1):
            count = math.ceil(math.log(1 - RECALL) / math.log1p(-(threshold**width)))
            if count * width <= BINS:
                return cls(count, width)
        return cls(BINS, 1)


@dataclass(frozen=True, eq=False)
class Sketches:
    """Of each text: `keys`, shape (texts, bands), uint32; `marks`, shape (texts, 4), two bits of each bin.

    `worded`: whether it has words at all; texts without are like no other.
    """

    keys: np.ndarray
    marks: np.ndarray
    worded: np.ndarray

    def likeness(self, first: np.ndarray, second: np.ndarray, bins: int) -> np.ndarray:
        """Estimated Jaccard similarity of pairs of texts; its error is `spread`."""
        differ = self.marks[first] ^ self.marks[second]
        unlike = np.bitwise_count(differ[:, :2] | differ[:, 2:]).sum(axis=1)
        return np.asarray(1 - unlike / bins / 0.75)


def spread(similarity: float, bins: int) -> float:
    """Standard deviation of the estimate at this similarity: two bits agree by chance in a quarter of cases."""
    agree = 0.25 + 0.75 * similarity
    return math.sqrt(agree * (1 - agree) / bins) / 0.75


def shingled(texts: pl.Series) -> Ragged:
    """The shingles of each text; those of a rejected answer are told apart from the same ones elsewhere."""
    points = codes(texts)
    if not (points.values == ord(REJECTED)).any():
        return shingles(folded(points))
    halves = texts.str.splitn(REJECTED, 2).struct.unnest()
    first, second = (shingles(folded(codes(halves[name].fill_null("")))) for name in halves.columns)
    values = np.concatenate((first.values, ~second.values))
    order = np.argsort(np.concatenate((first.owners(), second.owners())), kind="stable")
    return Ragged(values[order], first.starts + second.starts, first.ends + second.ends)


def sketch(texts: pl.Series, same: np.ndarray, bands: Bands) -> Sketches:
    """Sketches of texts; `same` (uint64) goes into the keys, so that only texts with an equal one are compared."""
    keys = np.empty((len(texts), bands.count), np.uint32)
    marks = np.empty((len(texts), 4), np.uint64)
    worded = np.empty(len(texts), bool)
    for start, part in blocks(texts):
        stop = start + len(part)
        parts = shingled(part)
        bins = minima(parts, bands.bins)
        keys[start:stop] = _keys(bins, same[start:stop], bands)
        marks[start:stop], worded[start:stop] = _marks(bins), parts.lengths > 0
    return Sketches(keys, marks, worded)


def minima(found: Ragged, bins: int) -> np.ndarray:
    """The sketches themselves, shape (texts, bins), uint32. All bins of a text without shingles are the same."""
    sketches = np.full((found.rows, bins), 0xFFFFFFFF, np.uint32)
    rows = np.flatnonzero(found.lengths)
    for turn in range(ROUNDS):
        part = found if len(rows) == found.rows else found.take(rows)
        hashes = mixed(part.values + np.uint64(turn * 0x9E3779B97F4A7C15 % 2**64)) if turn else part.values
        bin_of = ((hashes >> np.uint64(32)) * np.uint64(bins)) >> np.uint64(32)
        at = np.repeat(rows * bins, part.lengths) + bin_of.astype(np.int64)
        np.minimum.at(sketches.reshape(-1), at, (hashes.astype(np.uint32) >> np.uint32(3)) | np.uint32(turn << 29))
        rows = rows[(sketches[rows] == 0xFFFFFFFF).any(axis=1)]
        if not len(rows):
            return sketches
    _fill(sketches, found, rows)
    return sketches


def _fill(sketches: np.ndarray, found: Ragged, rows: np.ndarray) -> None:
    """Give each empty bin of these texts its own smallest value over all shingles of the text."""
    text, empty = np.nonzero(sketches[rows] == 0xFFFFFFFF)
    text = rows[text]
    lengths = found.lengths[text]
    salts = mixed((empty + 1).astype(np.uint64))
    hashes = mixed(found.values[ranges(found.starts[text], lengths)] + np.repeat(salts, lengths))
    least = np.minimum.reduceat(hashes.astype(np.uint32) >> np.uint32(3), np.cumsum(lengths) - lengths)
    sketches[text, empty] = least | np.uint32(ROUNDS << 29)


def _keys(bins: np.ndarray, same: np.ndarray, bands: Bands) -> np.ndarray:
    keys = np.repeat(same[:, None], bands.count, axis=1)
    for place in range(bands.width):
        keys ^= bins[:, place :: bands.width]
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return np.asarray(mixed(keys) >> np.uint64(32)).astype(np.uint32)


def _marks(bins: np.ndarray) -> np.ndarray:
    """Two bits of each bin: the lower ones in the first two numbers, the upper ones in the others."""
    marks = np.zeros((len(bins), 4, 8), np.uint8)
    for plane in (0, 1):
        packed = np.packbits((bins & np.uint32(1 << plane)).astype(bool), axis=1)
        marks[:, 2 * plane : 2 * plane + 2].reshape(len(bins), 16)[:, : packed.shape[1]] = packed
    return marks.view(np.uint64).reshape(len(bins), 4)
