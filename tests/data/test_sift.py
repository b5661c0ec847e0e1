"""The sieve: rows go on or are set aside with a reason, never lost, whatever the batches and the engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from posttrain.data import findings
from posttrain.data.engine import Engine, Local
from posttrain.data.funnel import Funnel
from posttrain.data.sift import REASON, Sieve, sift
from posttrain.data.table import Table, TableWriter

COLUMNS = ("id", "source", "system", "prompt", "completion")


@dataclass(frozen=True)
class Strip:
    """Stands where cleaning stands: trims completions and says which."""

    def apply(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        tidied = rows.with_columns(pl.col("completion").str.strip_chars())
        changed = (tidied["completion"] != rows["completion"]).arg_true()
        return tidied, findings.findings(changed, "blanks at the ends", "none", verdict="warn")


@dataclass(frozen=True)
class Short:
    name: str = "short"
    reason: str = "answers of one character"

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        hits = (rows["completion"].str.len_chars() < 2).arg_true()
        return findings.findings(hits, "1 character", "at least 2")


@dataclass(frozen=True)
class Odd:
    name: str = "odd"
    reason: str = "odd numbers want a look"

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        hits = (rows["completion"].cast(pl.Int64) % 2 == 1).arg_true()
        return findings.findings(hits, "odd", "even", verdict="review")


@dataclass(frozen=True)
class Repeated:
    name: str = "repeated"
    reason: str = "the same answer again"

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        rows = table.frame(["id", "completion"])
        first = rows.unique("completion", keep="first", maintain_order=True).rename({"id": "twin"})
        twins = rows.join(first.select("completion", "twin"), on="completion", maintain_order="left")
        again = twins.filter(pl.col("id") != pl.col("twin"))
        return findings.findings(again[Table.INDEX], "same answer", "once", again["twin"])


@dataclass(frozen=True)
class Restored:
    """Somebody restored these rows, from any rule."""

    ids: frozenset[str]

    def edited(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows

    def restores(self, rows: pl.DataFrame, rule: str) -> pl.Series:
        return rows["id"].is_in(list(self.ids))


def source(root: Path) -> Table:
    answers = ["12", " 14", "7", "15", "12", "16", "9", "14", "18"]
    rows = {"id": [f"r{number}" for number in range(len(answers))], "completion": answers}
    rows |= {"source": [f"rows.jsonl:{number + 1}" for number in range(len(answers))], "prompt": ["?"] * len(answers)}
    with TableWriter(root / "source.parquet", COLUMNS) as writer:
        writer.write(pl.DataFrame(rows))
    return Table(root / "source.parquet")


def run(root: Path, restored: Restored | None = None) -> tuple[pl.DataFrame, pl.DataFrame, Funnel]:
    sieve = Sieve(Strip(), (Short(), Odd()), (Repeated(),), said=restored)
    funnel = Funnel()
    with TableWriter(root / "aside.parquet", (*COLUMNS, *REASON)) as aside:
        kept = sift(source(root), "train", sieve, aside, root / "work.parquet", Local(1), funnel)
    return kept.frame(), Table(root / "aside.parquet").frame(), funnel


def test_every_row_goes_on_or_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    kept, aside, _ = run(tmp_path)
    assert kept["id"].to_list() == ["r0", "r1", "r5", "r8"]
    assert aside.select("id", "rule", "verdict", "twin").rows() == [
        ("r2", "short", "drop", ""),
        ("r3", "odd", "review", ""),
        ("r6", "short", "drop", ""),
        ("r4", "repeated", "drop", "r0"),
        ("r7", "repeated", "drop", "r1"),  # after cleaning: " 14" came first
    ]
    assert set(aside["split"]) == {"train"}
    assert aside.row(0, named=True)["completion"] == "7"


def test_the_funnel_counts_each_step_with_examples(tmp_path: Path) -> None:
    _, _, funnel = run(tmp_path)
    told = [(step.step, step.rows_in, step.rows_out, step.review) for step in funnel.steps]
    assert told == [("clean", 9, 9, 0), ("short", 9, 7, 0), ("odd", 7, 6, 1), ("repeated", 6, 4, 0)]
    assert funnel.steps[0].examples == ("rows.jsonl:2: blanks at the ends | ?",)
    assert funnel.steps[3].examples[0] == "rows.jsonl:5: same answer | ?"
    assert funnel.story() == "clean 9 to 9, short 9 to 7, odd 7 to 6, repeated 6 to 4"


def test_a_restored_row_goes_on(tmp_path: Path) -> None:
    kept, aside, funnel = run(tmp_path, Restored(frozenset({"r3", "r7"})))
    assert kept["id"].to_list() == ["r0", "r1", "r3", "r5", "r7", "r8"]
    assert aside["id"].to_list() == ["r2", "r6", "r4"]
    assert funnel.rows == 6


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_batches_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    whole = run(tmp_path)
    batches = Table.batches
    monkeypatch.setattr(Table, "batches", lambda self, columns=None, size=None: batches(self, columns, batch))
    parts = run(tmp_path)
    assert parts[0].equals(whole[0])
    assert parts[1].equals(whole[1])
    assert parts[2].steps == whole[2].steps
