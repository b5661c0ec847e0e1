"""Which vectors are like an earlier one: the pairs whose product reaches a threshold, without comparing all in full.

Each vector has a sketch: its share in the directions in which the vectors differ most, and the length of the rest. By
Cauchy and Schwarz the product of two sketches is never below that of the vectors, so that only pairs whose sketches
reach the threshold need the vectors themselves. Up to `EXACT` rows all sketches are compared, and nothing is missed;
beyond, those in the same or a neighboring cluster, and a few pairs are.

Knows nothing of texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from posttrain.data.embedding.vectors import VectorFile

EXACT = 65_536
SKETCH = 64
"""Directions of a sketch: six times fewer multiplications than MiniLM's 384."""
PROBES = 24
"""Clusters in which a row looks for its like: of 100,000 rows with 15,000 planted copies 8 find 99.4 %, 24
all but three in ten thousand, in the same time."""
SAMPLE = 16_384
SLACK = 2e-3
"""What rounding to 16 bits may take from a product."""
BLOCK = 4096
"""Rows that look for their like at a time; as many squared are the pairs that may have to be held at once."""
QUERIES, LISTED = 1024, 8192
"""Rows by rows whose sketches are compared at a time, so that the result fits the processor's cache."""
PAIRS = 32_768
"""Pairs whose vectors are compared at a time."""
DENSE = 32
"""Where one pair in this many of all is wanted, multiplying whole matrices is faster than pair by pair."""


@dataclass(frozen=True, eq=False)
class Twins:
    """For each row the first kept row that it is like (-1: none, it is kept), and how like (float32, at most 1)."""

    row: np.ndarray
    similarity: np.ndarray


def settle(vectors: VectorFile, same: np.ndarray, threshold: float, least: Sequence[float] = ()) -> Twins:
    """Go through the rows in order and set aside each that is like one kept before.

    Args:
        vectors: unit vectors, or several of equal width side by side, as `joined` gives.
        same: a number a row (uint64); only rows of the same number are compared.
        threshold: the least product of two rows that are alike; of joined vectors it is the mean over their parts.
        least: for joined vectors, the least product of each part.
    """
    search = _Search(vectors, same, threshold, np.array(least or [-1], np.float32))
    twins = Twins(np.full(vectors.rows, -1, np.int64), np.zeros(vectors.rows, np.float32))
    kept = search.lists()
    for block in search.blocks():
        before = block.rows.copy()  # a listed row matters only if it comes before this
        for second, first in _gathered(kept.candidates(block, before)):
            _note(twins, *search.confirmed(second, first))
            before[:] = np.where(twins.row[block.rows] >= 0, twins.row[block.rows], before)
        left = block.only(twins.row[block.rows] < 0)
        _settle_in_order(twins, search.pairs_within(left))
        kept.add(left.only(twins.row[left.rows] < 0))
    return twins


def touched(vectors: VectorFile, same: np.ndarray, threshold: float) -> np.ndarray:
    """Which rows are like any other row of the same number (bool), earlier or later, kept or not."""
    search = _Search(vectors, same, threshold, np.array([-1], np.float32))
    found = np.zeros(vectors.rows, bool)
    lists = search.lists()
    for block in search.blocks():
        lists.add(block)
        for second, first in _gathered(lists.candidates(block, block.rows)):
            news = ~(found[second] & found[first])
            for rows in search.confirmed(second[news], first[news])[:2]:
                found[rows] = True
    return found


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """Unit vectors side by side, scaled so that the whole is a unit vector; shape (rows, widths together)."""
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(len(parts)))


def _note(twins: Twins, second: np.ndarray, first: np.ndarray, similarity: np.ndarray) -> None:
    """Each second row's twin is the first of the rows that it is like."""
    order = np.lexsort((first, second))
    rows, at = np.unique(second[order], return_index=True)
    at = order[at]
    news = (twins.row[rows] < 0) | (first[at] < twins.row[rows])
    twins.row[rows[news]], twins.similarity[rows[news]] = first[at[news]], similarity[at[news]]


def _settle_in_order(twins: Twins, pairs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """As `_note`, but a first row counts only if it is kept itself."""
    second, first, similarity = pairs
    order = np.lexsort((first, second))
    for row, twin, like in zip(*(found[order].tolist() for found in (second, first, similarity)), strict=True):
        if twins.row[row] < 0 and twins.row[twin] < 0:
            twins.row[row], twins.similarity[row] = twin, like


@dataclass(frozen=True, eq=False)
class _Block:
    """Rows to look at: their numbers, sketches, and the clusters they look in, the nearest first."""

    rows: np.ndarray
    sketches: np.ndarray
    probes: np.ndarray

    def only(self, chosen: np.ndarray) -> _Block:
        return _Block(self.rows[chosen], self.sketches[chosen], self.probes[chosen])


class _Lists:
    """Sketches of the rows to compare with, by cluster."""

    def __init__(self, clusters: int, bound: float, same: np.ndarray, kind: type[np.floating]) -> None:
        self.bound, self.same, self.kind = bound, same, kind
        self.sketches = [np.zeros((0, 0), kind) for _ in range(clusters)]
        self.rows = [np.zeros(0, np.int64) for _ in range(clusters)]
        self.filled = [0] * clusters

    def add(self, block: _Block) -> None:
        """List rows under their nearest cluster."""
        for cluster, chosen in _grouped(block.probes[:, 0]):
            start = self.filled[cluster]
            stop = self.filled[cluster] = start + len(chosen)
            if stop > len(self.rows[cluster]):
                self._grow(cluster, max(64, 2 * stop), block.sketches.shape[1])
            self.sketches[cluster][start:stop] = block.sketches[chosen]
            self.rows[cluster][start:stop] = block.rows[chosen]

    def _grow(self, cluster: int, room: int, width: int) -> None:
        filled = min(self.filled[cluster], len(self.rows[cluster]))
        sketches, rows = np.empty((room, width), self.kind), np.empty(room, np.int64)
        if filled:
            sketches[:filled], rows[:filled] = self.sketches[cluster][:filled], self.rows[cluster][:filled]
        self.sketches[cluster], self.rows[cluster] = sketches, rows

    def candidates(self, block: _Block, before: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs (row of the block, listed row) of one `same` that may be alike.

        `before`, one number a row of the block: listed rows from there on do not matter. It is read anew for each
        yield, so that a caller who has found a twin may lower it.
        """
        for cluster, at in _grouped(block.probes.ravel()):
            asking = at // block.probes.shape[1]
            for start in range(0, self.filled[cluster], LISTED):
                stop = min(start + LISTED, self.filled[cluster])
                rows = self.rows[cluster][start:stop]
                asking = asking[before[asking] > rows[0]]  # lists are in the order of rows
                listed = self.sketches[cluster][start:stop].astype(np.float32, copy=False).T
                for first in range(0, len(asking), QUERIES):
                    part = asking[first : first + QUERIES]
                    hits = np.flatnonzero((block.sketches[part] @ listed >= self.bound).ravel())
                    one, other = part[hits // len(rows)], rows[hits % len(rows)]
                    valid = (self.same[block.rows[one]] == self.same[other]) & (other < before[one])
                    if valid.any():
                        yield block.rows[one[valid]], other[valid]


def _gathered(found: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same pairs, about `PAIRS` at a time: many of few take longer."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    for second, first in found:
        for start in range(0, len(second), PAIRS):
            waiting.append((second[start : start + PAIRS], first[start : start + PAIRS]))
            if sum(len(one) for one, _ in waiting) >= PAIRS // 2:
                yield np.concatenate([one for one, _ in waiting]), np.concatenate([other for _, other in waiting])
                waiting = []
    if waiting:
        yield np.concatenate([one for one, _ in waiting]), np.concatenate([other for _, other in waiting])


def _grouped(clusters: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(cluster, places at which it stands) for each cluster."""
    order = np.argsort(clusters, kind="stable")
    found, starts = np.unique(clusters[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)


@dataclass(frozen=True, eq=False)
class _Search:
    """The vectors, and what sketches and clusters them."""

    vectors: VectorFile
    same: np.ndarray
    threshold: float
    least: np.ndarray

    def lists(self) -> _Lists:
        kind = np.float16 if self.vectors.rows > 1_000_000 else np.float32
        return _Lists(1 if self.centers is None else len(self.centers), self.threshold - SLACK, self.same, kind)

    def blocks(self) -> Iterator[_Block]:
        """All rows in order, some at a time."""
        for start, vectors in self.vectors.blocks(BLOCK):
            sketches = self._sketched(vectors)
            yield _Block(np.arange(start, start + len(vectors)), sketches, self._probes(sketches))

    def pairs_within(self, block: _Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs (second row, first row, how like they are) among the rows of a block."""
        lists = self.lists()
        lists.add(block)
        found = [self.confirmed(*pairs) for pairs in _gathered(lists.candidates(block, block.rows))]
        empty = self.confirmed(np.zeros(0, np.int64), np.zeros(0, np.int64))
        second, first, similarity = (np.concatenate(part) for part in zip(empty, *found, strict=True))
        return second, first, similarity

    def confirmed(self, second: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Those pairs of rows that are as like as is demanded, and how like they are."""
        products = self._products(second, first) if len(second) else np.zeros((len(self.least), 0), np.float32)
        similarity = products.mean(axis=0)
        like = (similarity >= self.threshold) & (products >= self.least[:, None]).all(axis=0)
        return second[like], first[like], np.minimum(similarity[like], 1)

    def _products(self, second: np.ndarray, first: np.ndarray) -> np.ndarray:
        """The product of each part of the rows of each pair, shape (parts, pairs)."""
        (rows, row), (twins, twin) = (np.unique(found, return_inverse=True) for found in (second, first))
        ones, others = (self._parted(self.vectors.take(found)) for found in (rows, twins))
        if len(rows) * len(twins) <= DENSE * len(second):
            return np.asarray((ones @ others.transpose(0, 2, 1))[:, row, twin])
        return np.asarray(np.einsum("pnw,pnw->pn", ones[:, row], others[:, twin]))

    def _parted(self, vectors: np.ndarray) -> np.ndarray:
        """The unit vectors of each part, shape (parts, rows, width of a part)."""
        parts = len(self.least)
        return vectors.reshape(len(vectors), parts, -1).transpose(1, 0, 2) * np.float32(np.sqrt(parts))

    @cached_property
    def directions(self) -> np.ndarray:
        """The directions in which a sample of the vectors is longest, shape (width, at most SKETCH)."""
        sample = self._sample()
        _, found = np.linalg.eigh(sample.T @ sample)
        return np.asarray(found[:, ::-1][:, :SKETCH], np.float32)

    @cached_property
    def centers(self) -> np.ndarray | None:
        """Directions around which sketches gather, shape (clusters, SKETCH + 1); None where all are compared."""
        if self.vectors.rows <= EXACT:
            return None
        from sklearn.cluster import MiniBatchKMeans

        clusters = 2 ** round(np.log2(self.vectors.rows) / 2)
        sketches = self._sketched(self._sample(4 * SAMPLE))
        fitted = MiniBatchKMeans(clusters, batch_size=4096, max_iter=10, n_init=1, random_state=0).fit(sketches)
        return np.asarray(fitted.cluster_centers_, np.float32)

    def _sample(self, size: int = SAMPLE) -> np.ndarray:
        return self.vectors.take(np.unique(np.linspace(0, self.vectors.rows - 1, size, dtype=np.int64)))

    def _sketched(self, vectors: np.ndarray) -> np.ndarray:
        seen = vectors @ self.directions
        rest = np.sqrt(np.maximum(0, (vectors**2).sum(axis=1) - (seen**2).sum(axis=1)))
        return np.concatenate((seen, rest[:, None]), axis=1)

    def _probes(self, sketches: np.ndarray) -> np.ndarray:
        """The numbers of the nearest clusters, the nearest first, shape (rows, PROBES)."""
        if self.centers is None:
            return np.zeros((len(sketches), 1), np.int64)
        nearness = sketches @ self.centers.T - (self.centers**2).sum(axis=1) / 2
        near = np.argpartition(-nearness, PROBES, axis=1)[:, :PROBES]
        order = np.argsort(-np.take_along_axis(nearness, near, axis=1), axis=1, kind="stable")
        return np.asarray(np.take_along_axis(near, order, axis=1))
