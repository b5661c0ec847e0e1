"""Our side of the curation benchmark, in a process of its own: python curation_ours.py ROWS.jsonl FOLDER WORKERS.

Reads the file, tidies it, holds it against the three row rules that the other side has too, drops exact and near
duplicates, and writes what is left and what is not. Prints one JSON object: seconds of each part, peak memory in MB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from posttrain.data.engine import Engine, Local
from posttrain.data.funnel import Funnel
from posttrain.data.load import blocks, parse
from posttrain.data.rules.prose import DistinctWordRatio, ProseLength, Readable
from posttrain.data.rules.registry import RowRule
from posttrain.data.sift import REASON, Sieve, sift
from posttrain.data.steps import TableStep
from posttrain.data.steps.clean import Clean
from posttrain.data.steps.duplicates import Exact, Near
from posttrain.data.table import Table, TableWriter
from posttrain.spec.sections.data import Source

COLUMNS = ("id", "source", "system", "prompt", "completion")


@dataclass(frozen=True)
class RuleStep:
    """A row rule as a step of curation."""

    name: str
    rule: RowRule
    reason: str = "row rule"

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowStep.find`."""
        return self.rule.find(rows)


@dataclass(frozen=True)
class Timed:
    """A table step whose seconds are noted."""

    step: TableStep
    seconds: dict[str, float]

    @property
    def name(self) -> str:
        """See `TableStep.name`."""
        return self.step.name

    @property
    def reason(self) -> str:
        """See `TableStep.reason`."""
        return self.step.reason

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """See `TableStep.search`."""
        with timed(self.name, self.seconds):
            return self.step.search(table, engine)


@contextmanager
def timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Note the seconds of a block."""
    began = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - began, 2)


RULES = (
    RuleStep("encoding", Readable("prompt")),
    RuleStep("encoding", Readable("completion")),
    RuleStep("length", ProseLength("completion")),
    RuleStep("distinct_words", DistinctWordRatio("completion")),
)


def curate(rows: Path, folder: Path, engine: Engine, near: float) -> dict[str, float]:
    """Curate a file; returns the seconds of each part."""
    seconds: dict[str, float] = {}
    with timed("all", seconds):
        with timed("read", seconds), TableWriter(folder / "read.parquet", COLUMNS) as writer:
            for batch in engine.map(parse, blocks([Source(path=rows.name)], rows.parent, "train")):
                writer.write(batch)
        steps = (Timed(Exact(), seconds), Timed(Near(near), seconds))
        sieve = Sieve(Clean(), RULES, steps)
        with TableWriter(folder / "dropped.parquet", (*COLUMNS, *REASON)) as aside:
            work = folder / "sifted.parquet"
            kept = sift(Table(folder / "read.parquet"), "train", sieve, aside, work, engine, Funnel())
        with TableWriter(folder / "kept.parquet", COLUMNS) as writer:
            for batch in kept.batches():
                writer.write(batch)
    return seconds


def main() -> None:
    """Curate and print."""
    rows, folder, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    seconds = curate(rows, folder, Local(workers), float(sys.argv[4]))
    own, workers_ = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + workers_.ru_utime + workers_.ru_stime
    memory = {"peak_mb": round(own.ru_maxrss / 1024), "largest_worker_mb": round(workers_.ru_maxrss / 1024)}
    print(json.dumps({**seconds, "cpu": round(cpu, 2), **memory}))


if __name__ == "__main__":
    main()
