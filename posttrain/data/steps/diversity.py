"""Curation step: keep as many rows as wanted, so that their prompts cover what all prompts cover.

Rows are taken one after the other, always one of those that lie far from all that were taken: many rows of one sort
make room for few of another. The very farthest (k-center selection) is as a rule an odd one out: of 25 junk rows
planted among 2,300 SNIPS prompts, 18 were among the first 70 taken, and all among the first 300. So of all rows nearly
as far (`TIE`), that of the best quality is taken, then that with the most like it: none and 6 of the 25 are, and what
is left out is covered as well. It is no filter for junk: run it last.

Knows nothing of how texts become vectors.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.embedding.embed import Embedder
from posttrain.data.embedding.vectors import VectorFile
from posttrain.data.engine import Engine
from posttrain.data.steps.duplicates.exact import ids
from posttrain.data.steps.semantic import Source, opened
from posttrain.data.table import Table
from posttrain.spec.sections.diversity import DiversitySpec

TIE = 0.8
"""A row is nearly as far as the farthest when it lies at least this share of its distance away."""
NEIGHBORS = 10
"""Rows to which a row's mean cosine says how many are like it."""
PARTITION = 4096
"""Rows among which rows are selected at a time, by a matrix of all their cosines: 64 MB."""
SAMPLE = 65_536


@dataclass(frozen=True)
class Diverse:
    """Drops all but the most diverse rows; `twin` is the kept row that is most like.

    `store` is a folder in which vectors are kept for the next run; "" keeps none.
    """

    spec: DiversitySpec
    store: str = ""
    name: str = "diversity"

    @property
    def reason(self) -> str:
        """What it drops, in words."""
        return f"not among the {self.spec.rows:,} most diverse"

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """Findings about all rows but `spec.rows`, in the order of the table."""
        if table.rows <= self.spec.rows:
            return findings.none()
        embedder = Embedder(self.spec.model, self.spec.max_tokens, "curate.diversity.model")
        quality = _quality(table, self.spec.quality)
        with (
            opened(self.store, embedder) as store,
            tempfile.TemporaryDirectory(dir=table.path.parent) as folder,
            Source(embedder, engine, store, Path(folder)).vectors(table, ["prompt"]) as vectors,
        ):
            twins, similarity = select(vectors, self.spec.rows, quality)
        dropped = np.flatnonzero(twins >= 0)
        names = ids(table, table.positions[twins[dropped]])
        value = pl.Series([f"{like:.2f} like row " for like in similarity[dropped].tolist()], dtype=pl.String) + names
        return findings.findings(
            pl.Series(table.positions[dropped]), value, f"among the {self.spec.rows:,} most diverse", names
        )


def select(vectors: VectorFile, count: int, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(number of the kept row that each row is most like, or -1 for kept rows; that cosine).

    Beyond `PARTITION` rows, rows are compared within clusters of that size; every cluster gives its rows down to the
    same distance, so that each kept row stands for as much.

    Args:
        count: rows to keep, fewer than there are.
        quality: a number a row; the higher the better, where two rows lie about as far.
    """
    partitions = _partitions(vectors)
    ranked = [farthest(vectors.take(rows), quality[rows]) for rows in partitions]
    distances = np.concatenate([distance for _, distance in ranked])
    numbers = np.concatenate([rows[order] for rows, (order, _) in zip(partitions, ranked, strict=True)])
    kept = np.zeros(vectors.rows, bool)
    kept[numbers[np.lexsort((numbers, -distances))[:count]]] = True
    twins, similarity = np.full(vectors.rows, -1, np.int64), np.ones(vectors.rows, np.float32)
    for rows in partitions:
        # Only a cluster that is as narrow as a point may have no kept row: its rows are like any other's then.
        held, others = rows[kept[rows]] if kept[rows].any() else np.flatnonzero(kept)[:1], rows[~kept[rows]]
        like = vectors.take(others) @ vectors.take(held).T
        twins[others], similarity[others] = held[like.argmax(axis=1)], np.clip(like.max(axis=1), -1, 1)
    return twins, similarity


def farthest(vectors: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(all rows in the order in which they are taken, each one's distance from those before it: never rising).

    Args:
        vectors: unit vectors, shape (rows, width).
        quality: a number a row; of rows nearly as far as the farthest, the best is taken.
    """
    like = vectors @ vectors.T
    crowd = np.sort(like, axis=1)[:, -NEIGHBORS - 1 : -1].mean(axis=1) if len(vectors) > 1 else np.zeros(1)
    rank = np.empty(len(vectors), np.int64)
    rank[np.lexsort((-np.arange(len(vectors)), crowd, quality))] = np.arange(len(vectors))
    away = np.sqrt(np.maximum(0, 2 - 2 * like))
    left = np.full(len(vectors), 2.0)  # the farthest that two unit vectors can be
    order, distances = np.empty(len(vectors), np.int64), np.empty(len(vectors))
    for place in range(len(vectors)):
        far = np.flatnonzero(left >= TIE * left.max())
        row = far[rank[far].argmax()]
        order[place], distances[place] = row, max(0, left[row])
        np.minimum(left, away[row], out=left)
        left[row] = -1
    return order, np.minimum.accumulate(distances)


def _partitions(vectors: VectorFile) -> list[np.ndarray]:
    """The numbers of all rows, in groups of at most `PARTITION` that are like each other."""
    if vectors.rows <= PARTITION:
        return [np.arange(vectors.rows)]
    from sklearn.cluster import MiniBatchKMeans

    number = 2 * -(-vectors.rows // PARTITION)
    sample = vectors.take(np.unique(np.linspace(0, vectors.rows - 1, SAMPLE, dtype=np.int64)))
    fitted = MiniBatchKMeans(number, batch_size=4096, max_iter=20, n_init=1, random_state=0).fit(sample)
    clusters = np.concatenate([fitted.predict(part) for _, part in vectors.blocks()])
    found = (np.flatnonzero(clusters == cluster) for cluster in range(number))
    return [rows[at : at + PARTITION] for rows in found for at in range(0, len(rows), PARTITION)]


def _quality(table: Table, column: str) -> np.ndarray:
    """The numbers of a column, a row each (float64); zeros without it, and for what is no number."""
    if column not in table.columns:
        return np.zeros(table.rows)
    read = [rows[column].cast(pl.Float64, strict=False).fill_null(0).to_numpy() for rows in table.batches([column])]
    return np.concatenate(read)
