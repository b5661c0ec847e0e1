"""Which pairs of sketches are worth comparing: those that agree in a whole band, unless the rest tells them apart.

What is looked at grows with the number of texts, not with its square, however alike they are: large buckets are parted
by a second band, and of each text only the likeliest pairs are kept. Knows nothing of texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from posttrain.data.steps.duplicates.sketch import Bands, Sketches, spread

BUCKET = 64
"""Texts that share a key, at most, of which every two are looked at; a larger bucket is parted by the other bands."""
NEIGHBORS = 8
"""In a bucket that is still larger then, each text is looked at with so many that follow it."""
OF_ONE = 8
"""Texts of one cluster, at most, that are looked at in a bucket."""
KEPT = 16
"""Pairs of a text with earlier ones that are kept for comparing: the likeliest."""
TRIES = 4
"""Pairs of a text with earlier ones that are compared in one round."""
DOUBT = 4.0
"""Standard deviations by which an estimate may fall short of the threshold before a pair is given up."""
WAITING = 1 << 22
"""Pairs that wait before all but the likeliest are let go."""

Pair = tuple[np.ndarray, np.ndarray]
"""Numbers of the first and of the second texts."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Pairs to be compared, as second * texts + first, ascending, int64; and their estimated similarity."""

    pairs: np.ndarray
    likeness: np.ndarray

    @classmethod
    def empty(cls) -> Pool:
        """No pairs."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.float32))

    @classmethod
    def best(cls, pools: list[Pool], texts: int) -> Pool:
        """Of all these the `KEPT` likeliest pairs of each second text, each once."""
        pairs, places = np.unique(np.concatenate([pool.pairs for pool in pools]), return_index=True)
        every = cls(pairs, np.concatenate([pool.likeness for pool in pools])[places])
        return every.where(every.likeliest(texts, KEPT))

    def still(self, numbers: np.ndarray, seen: np.ndarray) -> Pool:
        """The pairs that are still to be compared: texts of two numbers (-1 counts as none), not `seen` (ascending)."""
        second, first = np.divmod(self.pairs, len(numbers))
        open_ = (numbers[first] >= 0) & (numbers[second] >= 0) & (numbers[first] != numbers[second])
        return self.where(open_ & ~_among(self.pairs, seen))

    def where(self, kept: np.ndarray) -> Pool:
        """The pairs at these places."""
        return Pool(self.pairs[kept], self.likeness[kept])

    def likeliest(self, texts: int, count: int) -> np.ndarray:
        """Whether each pair is one of the `count` likeliest of its second text; of pairs as likely, the earlier."""
        second = self.pairs // texts
        order = np.lexsort((-self.likeness, second))  # stable, and pairs are ascending
        chosen = np.zeros(len(order), bool)
        chosen[order] = np.arange(len(order)) - np.searchsorted(second, second) < count
        return chosen


@dataclass(frozen=True, eq=False)
class Search:
    """Looks for pairs of texts that may be at least `threshold` similar."""

    sketches: Sketches
    bands: Bands
    threshold: float

    def find(self, numbers: np.ndarray, fresh: np.ndarray, seen: np.ndarray, *, only_first: bool = False) -> Pool:
        """The `KEPT` likeliest pairs of each second text.

        Args:
            numbers: one a text; texts of one number are not compared, nor those of number -1.
            fresh: one flag a text; one of a pair must be fresh.
            seen: pairs not wanted again, ascending.
            only_first: of each bucket, only the pairs of its first text with the others.
        """
        texts = len(numbers)
        least = self.threshold - DOUBT * spread(self.threshold, self.bands.bins)
        best, waiting = Pool.empty(), [Pool.empty()]
        for one, other in self._pairs(numbers, fresh, only_first):
            wanted = (numbers[one] != numbers[other]) & (fresh[one] | fresh[other])
            first, second = np.minimum(one[wanted], other[wanted]), np.maximum(one[wanted], other[wanted])
            found = Pool(second * texts + first, self.sketches.likeness(first, second, self.bands.bins))
            found = found.where(found.likeness >= least)
            waiting.append(found.where(~_among(found.pairs, seen)))
            if sum(len(pool.pairs) for pool in waiting) > max(WAITING, len(best.pairs)):
                best, waiting = Pool.best([best, *waiting], texts), []
        return Pool.best([best, *waiting], texts)

    def _pairs(self, numbers: np.ndarray, fresh: np.ndarray, only_first: bool) -> Iterator[Pair]:
        """Pairs with a key in common; one may come several times."""
        active = np.flatnonzero(numbers >= 0)
        active = active[np.argsort(numbers[active], kind="stable")]
        for band in range(self.bands.count):
            members, sizes = _telling(*_buckets(self.sketches.keys[active, band], active), numbers, fresh)
            if only_first:
                yield _with_first(members, sizes)
                continue
            small = sizes <= BUCKET
            yield from _within(members[np.repeat(small, sizes)], sizes[small], BUCKET)
            large, sizes = members[np.repeat(~small, sizes)], sizes[~small]
            for other in range(self.bands.count if len(large) else 0):
                if other != band:
                    yield from self._parted(large, sizes, other)

    def _parted(self, members: np.ndarray, sizes: np.ndarray, band: int) -> Iterator[Pair]:
        """Pairs within the parts into which another band's keys cut large buckets."""
        bucket = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes) << np.uint64(32)
        keys = np.unique(bucket | self.sketches.keys[members, band], return_inverse=True)[1]
        parted, parts = _buckets(keys.astype(np.uint32), members)
        small = parts <= BUCKET
        yield from _within(parted[np.repeat(small, parts)], parts[small], BUCKET)
        yield from _within(parted[np.repeat(~small, parts)], parts[~small], NEIGHBORS)


def _among(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    if not len(ascending):
        return np.zeros(len(values), bool)
    return np.asarray(ascending[np.searchsorted(ascending, values).clip(max=len(ascending) - 1)] == values)


def _buckets(keys: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Members (in their order) of all keys (uint32) that at least two have, key by key, and how many have each."""
    # One sort of numbers, ten times as fast as an argsort: the key above, the place below.
    ordered = keys.astype(np.uint64)
    ordered <<= np.uint64(32)
    ordered |= np.arange(len(keys), dtype=np.uint32)
    ordered.sort()
    same = (ordered[1:] >> np.uint64(32)) == (ordered[:-1] >> np.uint64(32))
    shared = np.concatenate((same, [False])) | np.concatenate(([False], same))
    places = (ordered[shared[: len(ordered)]] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    starts = np.flatnonzero(np.concatenate(([True], ~same))[: len(ordered)][shared[: len(ordered)]])
    return members[places], np.diff(np.append(starts, len(places)))


def _telling(
    members: np.ndarray, sizes: np.ndarray, numbers: np.ndarray, fresh: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The buckets that hold a fresh text and texts of two numbers; of each number `OF_ONE` texts at most."""
    if not len(sizes):
        return members, sizes
    starts = np.cumsum(sizes) - sizes
    number = numbers[members]
    new = np.ones(len(members), bool)  # members come in the order of their numbers
    new[1:] = number[1:] != number[:-1]
    new[starts] = True
    runs = np.flatnonzero(new)
    place_in_run = np.arange(len(members)) - np.repeat(runs, np.diff(np.append(runs, len(members))))
    telling = np.logical_or.reduceat(fresh[members], starts) & (np.add.reduceat(new, starts, dtype=np.int64) > 1)
    kept = np.repeat(telling, sizes) & (place_in_run < OF_ONE)
    return members[kept], np.add.reduceat(kept, starts, dtype=np.int64)[telling]


def _with_first(members: np.ndarray, sizes: np.ndarray) -> Pair:
    starts = np.cumsum(sizes) - sizes
    other = np.ones(len(members), bool)
    other[starts] = False
    return np.repeat(members[starts], sizes - 1), members[other]


def _within(members: np.ndarray, sizes: np.ndarray, reach: int) -> Iterator[Pair]:
    """Every two members of a bucket that are fewer than `reach` places apart."""
    at = np.arange(len(members))
    left = np.repeat(np.cumsum(sizes), sizes) - at - 1  # members after each in its bucket
    for lag in range(1, reach):
        at = at[left[at] >= lag]
        if not len(at):
            return
        yield members[at], members[at + lag]
