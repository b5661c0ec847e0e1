"""Texts as arrays: a column of texts becomes one array of numbers, so that rules and sketches run without Python loops.

Characters become code points, code points words, words hashes; each step is a function from `Ragged` to `Ragged`. What
a word is, `words.py` says: `folded` gives what `words.key` gives, and a test holds them together. Work through `blocks`
of a column, not the whole of it: arrays that fit the processor's cache are several times faster.
Knows nothing of rows, rules or duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import polars as pl

from posttrain.data.text.words import WINDOW

SHINGLE = 4
"""Characters: utterances are too short for shingles of words, and some languages have no spaces."""
BLOCK = 1 << 16
"""Characters a block: its arrays of eight bytes each fit the second-level cache."""
_SPACE = 32
_FOLDED = 0x40000
"""No code point from here on is a letter or a digit."""
_WORD_CHARACTERS = re.compile(r"(?:[\u3040-\u30ff\u3400-\u9fff]|[^\W_])+")


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of unequal length in one array: row r is `values[starts[r]:ends[r]]`. What lies between rows is no row's."""

    values: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.starts)

    @property
    def lengths(self) -> np.ndarray:
        """Values a row, shape (rows,)."""
        return np.asarray(self.ends - self.starts)

    def row(self, number: int) -> np.ndarray:
        """The values of one row."""
        return np.asarray(self.values[self.starts[number] : self.ends[number]])

    def owners(self) -> np.ndarray:
        """The row number of each value; for rows with nothing between them."""
        return np.repeat(np.arange(self.rows), self.lengths)

    def take(self, rows: np.ndarray) -> Ragged:
        """These rows, in this order, with nothing between them."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        return Ragged(self.values[ranges(self.starts[rows], lengths)], ends - lengths, ends)


def blocks(texts: pl.Series, size: int = BLOCK) -> Iterator[tuple[int, pl.Series]]:
    """(first row, rows) of consecutive parts of about `size` characters; a longer text is a part by itself."""
    if not len(texts):
        return
    part = texts.str.len_chars().cum_sum().to_numpy() // size
    cuts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(texts)]
    for start, stop in pairwise(cuts):
        yield start, texts.slice(start, stop - start)


def codes(texts: pl.Series) -> Ragged:
    """The code points (uint32) of each text; a line break stands between rows and after the last."""
    found = texts.to_list()
    values = np.frombuffer(("\n".join(found) + "\n").encode("utf-32-le"), dtype="<u4")
    lengths = np.fromiter(map(len, found), np.int64, len(found))
    ends = np.cumsum(lengths + 1) - 1
    return Ragged(values, ends - lengths, ends)


def folded(texts: Ragged) -> Ragged:
    """The code points of `words.key` of each text: words in lower case, one space between them.

    Takes what `codes` gives. A space stands before the first row, between rows and after the last.
    """
    texts = _grown(texts)
    values = _fold_table().take(texts.values, mode="clip")
    letter = values != _SPACE
    keep = letter.copy()
    keep[1:] |= letter[:-1]  # the separator after a word stays, as a space
    kept = np.flatnonzero(keep)
    starts, stops = np.searchsorted(kept, texts.starts), np.searchsorted(kept, texts.ends + 1)
    values = values[kept]
    if len(values) and values.max() >= 0x3040:
        values, starts, stops = _apart(values, starts, stops)
    return Ragged(np.concatenate(([_SPACE], values)).astype(np.uint32), starts + 1, np.maximum(starts + 1, stops))


def _grown(texts: Ragged) -> Ragged:
    """The same texts, case-folded by Python where a character becomes several: ß."""
    first, sizes = _growth_table()
    if not len(texts.values) or texts.values.max() < first:
        return texts
    sizes = sizes.take(texts.values, mode="clip")
    if sizes.max() == 1:
        return texts
    offsets = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    values = np.frombuffer(texts.values.tobytes().decode("utf-32-le").casefold().encode("utf-32-le"), dtype="<u4")
    return Ragged(values, offsets[texts.starts], offsets[texts.ends])


@lru_cache(maxsize=1)
def _growth_table() -> tuple[int, np.ndarray]:
    """The first code point that case-folding turns into several; into how many it turns each, the last and others 1."""
    sizes = np.fromiter(map(len, _folds(0x10000)), np.uint8)
    return int(np.argmax(sizes > 1)), np.append(sizes, np.uint8(1))


def _folds(count: int) -> list[str]:
    """The first so many code points, each case-folded; a blank for what is no character."""
    points = np.arange(count, dtype="<u4")
    points[(points == 10) | (points >> 11 == 0x1B)] = _SPACE  # 10 parts them, and surrogates are no characters
    spaced = np.full(2 * count, 10, dtype="<u4")
    spaced[::2] = points
    return spaced.tobytes().decode("utf-32-le").casefold().split("\n")[:count]


def _apart(values: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """With a space between a Chinese or Japanese character and its neighbor, since it is a word of its own."""
    alone = _alone(values)
    letter = values != _SPACE
    gaps = np.flatnonzero((alone[:-1] | alone[1:]) & letter[:-1] & letter[1:]) + 1
    return np.insert(values, gaps, _SPACE), starts + np.searchsorted(gaps, starts), stops + np.searchsorted(gaps, stops)


def _alone(values: np.ndarray) -> np.ndarray:
    """Whether each code point is a word of its own."""
    return ((values >= 0x3040) & (values <= 0x30FF)) | ((values >= 0x3400) & (values <= 0x9FFF))


@lru_cache(maxsize=1)
def _fold_table() -> np.ndarray:
    """Code point -> code point in lower case, or a space for what is part of no word."""
    single = "".join(fold if len(fold) == 1 else " " for fold in _folds(_FOLDED))
    table = np.full(_FOLDED, _SPACE, dtype=np.uint32)
    values = np.frombuffer(single.encode("utf-32-le"), dtype="<u4")
    for run in _WORD_CHARACTERS.finditer(single):
        table[run.start() : run.end()] = values[run.start() : run.end()]
    return table


def words(texts: Ragged) -> Ragged:
    """A hash (uint64) for each word of each text; equal words have equal hashes. Takes what `folded` gives."""
    spaces = np.flatnonzero(texts.values == _SPACE)
    starts = spaces[:-1] + 1
    if not len(starts):
        return Ragged(np.zeros(0, np.uint64), np.zeros(texts.rows, np.int64), np.zeros(texts.rows, np.int64))
    powers, inverses = _powers(len(texts.values).bit_length())
    sums = np.add.reduceat(texts.values * powers[: len(texts.values)], starts)
    hashes = mixed(sums * inverses[starts])
    return Ragged(hashes, np.searchsorted(starts, texts.starts), np.searchsorted(starts, texts.ends))


def ideographs(texts: Ragged) -> np.ndarray:
    """Whether each word, in the order of `words`, is a Chinese or Japanese character. Takes what `folded` gives."""
    return _alone(texts.values[np.flatnonzero(texts.values == _SPACE)[:-1] + 1])


@lru_cache(maxsize=4)
def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The first 2**bits powers of an odd number modulo 2**64, and of its inverse."""
    base = 0x9E3779B97F4A7C15
    factors = np.full((2, 1 << bits), 1, dtype=np.uint64)
    factors[:, 1:] = np.array([[base], [pow(base, -1, 1 << 64)]], dtype=np.uint64)
    powers = np.cumprod(factors, axis=1)
    return powers[0], powers[1]


def shingles(texts: Ragged, size: int = SHINGLE) -> Ragged:
    """A hash (uint64) for each run of `size` characters of each text, with a space at both ends.

    Takes what `folded` gives. A text shorter than that is one run; one without words has none.
    """
    base = np.uint64(0xC2B2AE3D27D4EB4F)
    lengths = np.where(texts.lengths > 0, texts.lengths + 2, 0)
    short = (lengths > 0) & (lengths < size)
    values = np.concatenate((texts.values, np.zeros(size, np.uint32))).astype(np.uint64)
    run = values[: len(texts.values)].copy()
    for offset in range(1, size):
        run *= base
        run += values[offset : offset + len(run)]
    for row in np.flatnonzero(short):
        start = texts.starts[row] - 1
        run[start] = _polynomial(values[start : start + lengths[row]], int(base))
    counts = np.where(short, 1, np.maximum(lengths - size + 1, 0))
    at = ranges(texts.starts - 1, counts)
    stops = np.cumsum(counts)
    return Ragged(mixed(run[at]), stops - counts, stops)


def _polynomial(values: np.ndarray, base: int) -> int:
    total = 0
    for value in values.tolist():
        total = (total * base + value) % (1 << 64)
    return total


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """start, start + 1, … for each start: `counts` numbers of each, one after the other."""
    stops = np.cumsum(counts)
    total = int(stops[-1]) if len(stops) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (stops - counts), counts))


def mixed(values: np.ndarray) -> np.ndarray:
    """Each number (uint64) scrambled so that every bit is as good as random; one to one (the end of MurmurHash3)."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def distinct_word_shares(found: Ragged, window: int = WINDOW) -> np.ndarray:
    """`words.distinct_word_share` of each text (float64, 0 to 1). Takes what `words` gives."""
    shares = np.ones(found.rows)
    rows = np.flatnonzero(found.lengths >= 6)
    if not len(rows):
        return shares
    lengths = found.lengths[rows]
    counts = np.maximum(1, np.rint(lengths / window)).astype(np.int64)
    first = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(rows)), counts)
    place = np.arange(len(owner)) - first[owner]
    cuts = lengths[owner] * place // counts[owner]
    stops = lengths[owner] * (place + 1) // counts[owner]
    pairs = stops - cuts - 1
    at = ranges(found.starts[rows][owner] + cuts, pairs)
    hashes = mixed(found.values[at] * np.uint64(0x9E3779B97F4A7C15) + found.values[at + 1])
    # One sort for all windows: the window's number in the upper bits, the pair's hash in the rest.
    bits = np.uint64(max(1, len(owner).bit_length()))
    numbers = np.repeat(np.arange(len(owner), dtype=np.uint64), pairs) << (np.uint64(64) - bits)
    keys = np.sort(numbers | (hashes >> bits))
    repeated = np.concatenate(([False], keys[1:] == keys[:-1]))
    distinct = pairs - np.add.reduceat(repeated, np.cumsum(pairs) - pairs, dtype=np.int64)
    shares[rows] = np.minimum.reduceat(distinct / pairs, first)
    return shares
