"""Curation steps: rows that a language model finds most surprising, and rows that a reward model likes least.

A score is computed once: with a `store`, a second run with other limits reads it from disk. A row's score is the same
whatever rows are beside it. Knows nothing of how models are trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from posttrain.artifacts import digest
from posttrain.data import findings
from posttrain.data.embedding.pretrained import folder_of, model_digest
from posttrain.data.embedding.vectors import VectorStore
from posttrain.data.engine import Engine
from posttrain.data.steps.scoring import Asked, perplexities, rewards
from posttrain.data.table import Table
from posttrain.spec.sections.scores import PerplexitySpec, RewardSpec

BATCH = 1024
COLUMNS = ("system", "prompt", "completion", "chosen")
VERSION = 1
"""To be raised when the same row may get another score."""


@dataclass(frozen=True)
class PerplexityScore:
    """Sets aside rows whose answers surprise a causal language model most; of preference pairs the chosen answers.

    Args:
        base: folder of the model that is asked when the spec names none.
        store: folder in which scores are kept for the next run; "" keeps none.
    """

    spec: PerplexitySpec
    base: str = ""
    store: str = ""
    name: str = "perplexity"

    @property
    def reason(self) -> str:
        """What it sets aside, in words."""
        return f"answers that surprise a language model: {' or '.join(self._limits())}"

    def _limits(self) -> Iterator[str]:
        if self.spec.max is not None:
            yield f"perplexity above {self.spec.max:g}"
        if self.spec.drop_top:
            yield f"among the {self.spec.drop_top:.3g} highest of all"

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """Findings about the rows set aside, in the order of the table. Raises: `ModelError`."""
        folder = folder_of(self.spec.model or self.base, "curate.scores.perplexity.model")
        score = _Score(perplexities, str(folder), self.spec.max_tokens)
        found = scores(table, engine, score, self.store)
        judged = np.flatnonzero(found[:, 1] >= self.spec.min_tokens)
        surprise = found[judged, 0].astype(np.float64)
        limit = math.inf if self.spec.max is None else math.log(self.spec.max)
        low, over = _lowest(-surprise, self.spec.drop_top), surprise > limit
        said = [f"perplexity {math.exp(min(value, 700)):.4g}" for value in surprise.tolist()]
        bound = np.where(over, f"at most {self.spec.max or 0:g}", f"not among the highest {self.spec.drop_top:.3g}")
        return _found(table.positions[judged], low | over, said, bound, self.spec.verdict)


@dataclass(frozen=True)
class RewardScore:
    """Sets aside rows whose answers a reward model likes least; of preference pairs the chosen answers.

    `store` is a folder in which scores are kept for the next run; "" keeps none.
    """

    spec: RewardSpec
    store: str = ""
    name: str = "reward"

    @property
    def reason(self) -> str:
        """What it sets aside, in words."""
        low = [] if self.spec.min is None else [f"a score below {self.spec.min:g}"]
        share = [f"among the {self.spec.drop_bottom:.3g} lowest of all"] if self.spec.drop_bottom else []
        return f"answers that a reward model does not like: {' or '.join(low + share)}"

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """Findings about the rows set aside, in the order of the table. Raises: `ModelError`."""
        folder = folder_of(self.spec.model, "curate.scores.reward.model")
        score = _Score(rewards, str(folder), self.spec.max_tokens)
        reward = scores(table, engine, score, self.store)[:, 0].astype(np.float64)
        limit = -math.inf if self.spec.min is None else self.spec.min
        low, under = _lowest(reward, self.spec.drop_bottom), reward < limit
        said = [f"reward {value:.4g}" for value in reward.tolist()]
        bound = np.where(under, f"at least {limit:g}", f"not among the lowest {self.spec.drop_bottom:.3g}")
        return _found(table.positions, low | under, said, bound, self.spec.verdict)


def _found(positions: np.ndarray, aside: np.ndarray, said: list[str], bound: np.ndarray, verdict: str) -> pl.DataFrame:
    rows = np.flatnonzero(aside)
    values, bounds = [said[row] for row in rows], [str(bound[row]) for row in rows]
    return findings.findings(pl.Series(positions[rows]), values, bounds, verdict=[verdict] * len(rows))


def _lowest(values: np.ndarray, share: float) -> np.ndarray:
    """Which values (bool) are the lowest `share` of all, rounded down; of equal ones the later rows."""
    lowest = np.zeros(len(values), bool)
    lowest[np.lexsort((-np.arange(len(values)), values))[: math.floor(share * len(values) + 1e-9)]] = True
    return lowest


# --- a score for each row, once ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Score:
    """What gives two numbers for each (system, prompt, answer). Travels to worker processes."""

    function: Callable[[Path, Sequence[Asked], int], np.ndarray]
    folder: str
    max_tokens: int

    def __call__(self, rows: Sequence[Asked]) -> np.ndarray:
        return self.function(Path(self.folder), rows, self.max_tokens)

    @property
    def digest(self) -> str:
        return digest([VERSION, self.function.__name__, model_digest(Path(self.folder)), self.max_tokens])


def scores(table: Table, engine: Engine, score: _Score, store: str) -> np.ndarray:
    """The two numbers of each row of the table, float32, shape (rows, 2)."""
    waiting: list[_Batch] = []
    found = [np.zeros((0, 2), np.float32)]
    with VectorStore(Path(store), score.digest, 2, np.float32) if store else nullcontext() as kept:

        def missing() -> Iterator[list[Asked]]:
            names = [name for name in COLUMNS if name in table.columns]
            for rows in table.batches(names, BATCH):
                waiting.append(_Batch(_asked(rows), kept))
                yield waiting[-1].missing

        for fresh in engine.map(score, missing()):
            found.append(waiting.pop(0).completed(fresh, kept))
    return np.concatenate(found)


def _asked(rows: pl.DataFrame) -> list[Asked]:
    answer = "chosen" if "chosen" in rows.columns else "completion"
    return list(zip(*(rows[name].to_list() for name in ("system", "prompt", answer)), strict=True))


class _Batch:
    """Some rows: which of them have a score on disk, which are still to be scored."""

    def __init__(self, rows: list[Asked], store: VectorStore | None) -> None:
        self.keys = store.keys(["\x1f".join(row) for row in rows]) if store else [b""] * len(rows)
        self.known: dict[int, Any] = store.find(self.keys) if store else {}
        self.at = [at for at in range(len(rows)) if at not in self.known]
        self.missing = [rows[at] for at in self.at]

    def completed(self, fresh: np.ndarray, store: VectorStore | None) -> np.ndarray:
        """The numbers of all rows, given those of the missing ones."""
        found = np.zeros((len(self.keys), 2), np.float32)
        for at, numbers in self.known.items():
            found[at] = numbers
        found[self.at] = fresh
        if store and self.at:
            store.add([self.keys[at] for at in self.at], fresh)
        return found
