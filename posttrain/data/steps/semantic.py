"""Curation step: rows that say the same as an earlier one in other words.

Two rows are alike when their prompts are, and prompts and answers on average, no answer being far below: rows that ask
different things stay though the answer is one, and so do different answers to one question. Answers are embedded only
where prompts are alike, which is a small part of most data sets. A JSON answer is a label and must be the same
(`duplicates.compared`).

Knows nothing of how texts become vectors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.embedding.embed import Embedder
from posttrain.data.embedding.neighbors import Twins, joined, settle, touched
from posttrain.data.embedding.vectors import BATCH, VectorFile, VectorStore, embedded
from posttrain.data.engine import Engine
from posttrain.data.steps.duplicates import compared
from posttrain.data.steps.duplicates.exact import ids
from posttrain.data.table import Table
from posttrain.data.text.codes import codes
from posttrain.spec.sections.semantic import SemanticSpec

NUMBERS = r"\d+(?:[.,]\d+)*"
ANSWERS = 0.10
"""How far below the threshold an answer may be, if the prompt makes up for it: paraphrased answers vary more in length
and order than questions do."""


@dataclass(frozen=True)
class SemanticDuplicates:
    """Drops rows whose cosine with an earlier kept row reaches the threshold (S3: 0.85).

    `store` is a folder in which vectors are kept for the next run; "" keeps none. Keeps some 300 bytes a row in memory
    up to a million rows and 150 beyond, and 768 bytes a row on disk while it works.
    """

    spec: SemanticSpec = field(default_factory=SemanticSpec)
    store: str = ""
    name: str = "semantic_duplicate"

    @property
    def reason(self) -> str:
        """What it drops, in words."""
        return f"same meaning as an earlier kept row: cosine of {self.spec.threshold:g} or more"

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """Findings about rows like an earlier one that stays, in the order of the table; `twin` is the first such."""
        embedder = Embedder(self.spec.model, self.spec.max_tokens, "curate.semantic.model")
        with opened(self.store, embedder) as store, tempfile.TemporaryDirectory(dir=table.path.parent) as folder:
            twins = self._twins(table, Source(embedder, engine, store, Path(folder)))
        dropped = np.flatnonzero(twins.row >= 0)
        positions = table.positions
        names = ids(table, positions[twins.row[dropped]])
        likeness = [f"{like:.2f} like row " for like in twins.similarity[dropped].tolist()]
        value = pl.Series(likeness, dtype=pl.String) + names
        return findings.findings(pl.Series(positions[dropped]), value, f"below {self.spec.threshold:g}", names)

    def _twins(self, table: Table, source: Source) -> Twins:
        """Twins among the rows that are there, numbered from 0."""
        threshold = self.spec.threshold
        same, labelled = self._comparable(table, source.embedder)
        twins = Twins(np.full(len(same), -1, np.int64), np.zeros(len(same), np.float32))
        with source.vectors(table, ["prompt"]) as prompts:
            alike = np.flatnonzero(touched(prompts, same, threshold))
            for chosen, columns in ((labelled[alike], []), (~labelled[alike], _answers(table))):
                rows = alike[chosen]
                with source.beside(prompts, rows, table, columns) as whole:
                    found = settle(whole, same[rows], threshold, [threshold, *[threshold - ANSWERS] * len(columns)])
                has = found.row >= 0
                twins.row[rows[has]] = rows[found.row[has]]
                twins.similarity[rows[has]] = found.similarity[has]
        return twins

    def _comparable(self, table: Table, embedder: Embedder) -> tuple[np.ndarray, np.ndarray]:
        """(number that must be equal, whether the answers are labels) a row."""
        same, labelled = [np.zeros(0, np.uint64)], [np.zeros(0, bool)]
        for rows in table.batches(compared.columns(table)):
            kind = pl.Series([str(int(one)) for one in embedder.lexical(rows["prompt"].to_list())], dtype=pl.String)
            parts = [compared.same(rows), kind]
            if self.spec.same_numbers:
                parts.append(rows["prompt"].str.extract_all(NUMBERS).list.sort().list.join(" "))
            text = pl.DataFrame(parts, schema=["same", "kind", "numbers"][: len(parts)])
            joint = text.select(pl.concat_str(pl.all(), separator="\x1f")).to_series()
            same.append(compared.digest_of_characters(codes(joint))[:, 0])
            labelled.append(compared.is_labelled(rows).to_numpy())
        return np.concatenate(same), np.concatenate(labelled)


def opened(store: str, embedder: Embedder) -> AbstractContextManager[VectorStore | None]:
    """The store of vectors in a folder; nothing for ""."""
    return VectorStore(Path(store), embedder.digest, embedder.width) if store else nullcontext()


def _answers(table: Table) -> list[str]:
    return [name for name in compared.ANSWERS if name in table.columns]


@dataclass(frozen=True)
class Source:
    """Where vectors come from, and the folder that their files go to."""

    embedder: Embedder
    engine: Engine
    store: VectorStore | None
    folder: Path

    def vectors(self, table: Table, columns: Sequence[str]) -> VectorFile:
        """The vectors of these columns of the rows that are there, side by side."""
        file = VectorFile(self.folder / f"{'-'.join(columns)}.f16", self.embedder.width * len(columns))
        for parts in self._parts(table, columns):
            file.append(joined(parts))
        return file

    def beside(self, first: VectorFile, rows: np.ndarray, table: Table, columns: Sequence[str]) -> VectorFile:
        """The vectors of some rows of a file, and beside each those of these columns; `rows` are numbers of rows."""
        file = VectorFile(self.folder / f"beside-{'-'.join(columns)}.f16", self.embedder.width * (1 + len(columns)))
        chosen, done = table.only(table.positions[rows]), 0
        for parts in self._parts(chosen, columns):
            count = len(parts[0]) if parts else min(BATCH, len(rows) - done)
            file.append(joined([first.take(rows[done : done + count]), *parts]))
            done += count
        return file

    def _parts(self, table: Table, columns: Sequence[str]) -> Iterator[list[np.ndarray]]:
        """The vectors of each column, for some rows at a time."""
        if not columns:
            return iter([[]] * -(-table.rows // BATCH))
        texts = (
            [text for name in columns for text in rows[name].to_list()]
            for rows in table.batches(columns, BATCH // len(columns))
        )
        found = embedded(self.embedder, texts, self.engine, self.store)
        return (np.split(vectors, len(columns)) for vectors in found)
