"""Near-duplicates: rows whose texts are alike, though not the same.

MinHash LSH proposes pairs of rows, their Jaccard similarity is then counted exactly, and rows are settled in their
order, as if each were compared with every row kept before it. Knows nothing of embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.engine import Engine
from posttrain.data.steps.duplicates import compared
from posttrain.data.steps.duplicates.candidates import TRIES, Pool, Search
from posttrain.data.steps.duplicates.exact import ids
from posttrain.data.steps.duplicates.similarity import TextFile, similarities
from posttrain.data.steps.duplicates.sketch import Bands, Sketches, sketch
from posttrain.data.table import Table
from posttrain.data.text.codes import codes


@dataclass(frozen=True)
class Near:
    """Drops rows whose Jaccard similarity with an earlier kept row of the same label reaches `threshold`.

    Compared are the sets of runs of four characters of the texts reduced to their words (`compared.texts`), and those
    of the answers by themselves: a passage or a description of tools that many prompts share would outweigh all that
    differs: without the second look, 45 % of T0 would go rather than 34 %. 1 keeps near-duplicates.

    Keeps about 120 bytes a row in memory at the default (four more for each further band, `Bands.of`), and the texts
    once more on disk, beside the table, while it works.
    """

    threshold: float = 0.85
    name: str = "near_duplicate"

    @property
    def reason(self) -> str:
        """What it drops, in words."""
        return f"Jaccard similarity of at least {self.threshold:g} with an earlier kept row"

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """Findings about rows like an earlier one that stays, in the order of the table; `twin` is the first such."""
        if self.threshold >= 1:
            return findings.none()
        found = similar(table, self.threshold, engine, labelled=True, settle=_settled)
        twins, likeness = _twins(found, table.rows)
        dropped = np.flatnonzero(twins >= 0)
        names = ids(table, found.positions[twins[dropped]])
        value = pl.Series([f"{share:.2f} like row " for share in likeness[dropped].tolist()], dtype=pl.String) + names
        return findings.findings(pl.Series(found.positions[dropped]), value, f"below {self.threshold:g}", names)


def clusters(table: Table, threshold: float, engine: Engine) -> np.ndarray:
    """Cluster number (from 0, in order of first rows) of each row of the table, int64.

    Rows that are near-duplicates, whatever their labels, have one number; chains count as one cluster. A row without
    near-duplicates is a cluster by itself.
    """
    found = similar(table, threshold, engine, labelled=False, settle=_components)
    numbers = _components(found)
    first = np.unique(numbers, return_index=True)[1]
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return np.asarray(place[numbers])


@dataclass(frozen=True, eq=False)
class Similar:
    """Pairs of similar rows (`first` < `second`) with their similarity; `positions` of all rows in their file."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    positions: np.ndarray


Settle = Callable[[Similar], np.ndarray]
"""From the pairs found so far to a number for each row: only rows of different numbers need comparing, -1 with none."""


def similar(table: Table, threshold: float, engine: Engine, *, labelled: bool, settle: Settle) -> Similar:
    """Pairs of rows at least `threshold` similar: as many as `settle` needs to settle every row.

    Goes on in rounds, from the likeliest pairs to all that are proposed; rows that a round settles are compared no
    more, so that a thousand copies of one text cost some thousand comparisons, not half a million.
    """
    bands = Bands.of(threshold)
    with TextFile(table.path.parent, table.rows) as whole, TextFile(table.path.parent, table.rows) as answers:
        file = _Texts(whole, answers if labelled else None)
        sketches, positions = _sketches(table, file, bands, engine, labelled)
        search = Search(sketches, bands, threshold)
        found = Similar(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), positions)
        numbers = np.where(sketches.worded, settle(found), -1)
        pool = search.find(numbers, sketches.worded, seen=np.zeros(0, np.int64), only_first=True)
        seen, looked_up = np.zeros(0, np.int64), np.zeros(table.rows, bool)
        while True:
            chosen = pool.pairs[pool.likeliest(table.rows, TRIES)]
            seen = np.sort(np.concatenate((seen, chosen)))
            found = _with(found, file, chosen, threshold, engine)
            numbers = np.where(sketches.worded, settle(found), -1)
            # A row that had been settled, and is no more since its twin went, is looked up again.
            fresh, looked_up = (numbers >= 0) & ~looked_up, numbers >= 0
            pool = Pool.best([pool.still(numbers, seen), search.find(numbers, fresh, seen)], table.rows)
            if not len(pool.pairs):
                return found


@dataclass(frozen=True, eq=False)
class _Texts:
    """The texts that are compared as a whole, and the answers in them, where these must be alike too."""

    whole: TextFile
    answers: TextFile | None

    def append(self, rows: pl.DataFrame) -> None:
        self.whole.append(rows["text"])
        if self.answers:
            self.answers.append(rows["answers"])


def _with(found: Similar, file: _Texts, proposed: np.ndarray, threshold: float, engine: Engine) -> Similar:
    """The pairs found so far, and those of the proposed that are similar; in the order of second, then first rows."""
    second, first = np.divmod(proposed, file.whole.count)
    similarity = similarities(file.whole, first, second, engine)
    if file.answers:
        alike = np.flatnonzero(similarity >= threshold)
        of_answers = similarities(file.answers, first[alike], second[alike], engine)
        similarity[alike] = np.minimum(similarity[alike], of_answers)
    like = similarity >= threshold
    first, second = np.append(found.first, first[like]), np.append(found.second, second[like])
    order = np.lexsort((first, second))
    return Similar(first[order], second[order], np.append(found.similarity, similarity[like])[order], found.positions)


@dataclass(frozen=True)
class _Sketch:
    """Sketches one batch; travels to worker processes."""

    bands: Bands
    labelled: bool

    def __call__(self, rows: pl.DataFrame) -> tuple[Sketches, np.ndarray]:
        same = compared.digest_of_characters(codes(rows["same"]))[:, 0]
        sketches = sketch(rows["text"], same if self.labelled else np.zeros_like(same), self.bands)
        return sketches, rows[Table.INDEX].to_numpy()


def _sketches(table: Table, file: _Texts, bands: Bands, engine: Engine, labelled: bool) -> tuple[Sketches, np.ndarray]:
    """Sketches of all rows and their positions; the texts go to the file."""

    def batches() -> Iterator[pl.DataFrame]:
        for rows in compared.batches(table):
            file.append(rows)
            yield rows

    rows, done = table.rows, 0
    made = Sketches(np.empty((rows, bands.count), np.uint32), np.empty((rows, 4), np.uint64), np.empty(rows, bool))
    positions = np.empty(rows, np.int64)
    for part, at in engine.map(_Sketch(bands, labelled), batches()):
        stop = done + len(at)
        made.keys[done:stop], made.marks[done:stop], made.worded[done:stop] = part.keys, part.marks, part.worded
        positions[done:stop] = at
        done = stop
    return made, positions


def _twins(found: Similar, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the first kept row that it is like, -1 for rows that are kept, and their similarity."""
    dropped = _dropped(found, rows)
    to_kept = np.flatnonzero(dropped[found.second] & ~dropped[found.first])
    second, place = np.unique(found.second[to_kept], return_index=True)  # the first of several: pairs are in order
    twins, likeness = np.full(rows, -1, np.int64), np.zeros(rows)
    twins[second], likeness[second] = found.first[to_kept[place]], found.similarity[to_kept[place]]
    return twins, likeness


def _dropped(found: Similar, rows: int) -> np.ndarray:
    """Whether each row is like an earlier one that is kept: as if decided row by row, but many at a time."""
    first, second = found.first, found.second
    dropped, undecided = np.zeros(rows, bool), np.zeros(rows, bool)
    undecided[second] = True
    while len(first):
        like_kept = second[~undecided[first] & ~dropped[first]]
        dropped[like_kept], undecided[like_kept] = True, False
        still = undecided[first] & undecided[second]
        first, second = first[still], second[still]
        # Whoever is like no kept row, and like no undecided one, is kept.
        undecided[:] = False
        undecided[second] = True
    return dropped


def _settled(found: Similar) -> np.ndarray:
    """Kept rows by their own number, others -1."""
    rows = len(found.positions)
    return np.where(_dropped(found, rows), -1, np.arange(rows))


def _components(found: Similar) -> np.ndarray:
    """The number of each row's connected component."""
    from scipy import sparse
    from scipy.sparse import csgraph

    rows = len(found.positions)
    graph = sparse.coo_array((np.ones(len(found.first), bool), (found.first, found.second)), (rows, rows))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1]).astype(np.int64)
