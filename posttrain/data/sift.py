"""Rows through the steps of curation: what goes on is written to one file, what is set aside to another, with reasons.

One pass cleans and runs every row step, batch by batch; then each table step reads what is left as a stream. Knows
nothing of which steps there are, nor where rows come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.engine import Engine
from posttrain.data.funnel import EXAMPLES, Funnel, in_words, merged
from posttrain.data.steps import RowStep, TableStep
from posttrain.data.table import Table, TableWriter

REASON = ("rule", "value", "threshold", "split", "twin", "verdict")
"""Columns of a row that was set aside, beyond its own."""


class Said(Protocol):
    """What people have said (`posttrain.data.account.verdicts.Verdicts`)."""

    def edited(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, with the new texts of those that somebody edited."""

    def restores(self, rows: pl.DataFrame, rule: str) -> pl.Series:
        """One flag a row: whether somebody restored it from this rule."""


class Changer(Protocol):
    """A step that tidies rows and drops none (`posttrain.data.steps.clean.Clean`)."""

    def apply(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows, tidied, and findings about those that changed."""


@dataclass(frozen=True)
class Sieve:
    """Everything that rows of one part go through. Picklable as a whole."""

    clean: Changer
    row_steps: tuple[RowStep, ...] = ()
    table_steps: tuple[TableStep, ...] = ()
    finish: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    said: Said | None = None

    def __call__(self, rows: pl.DataFrame) -> Passed:
        """Clean a batch and run the row steps; a row that one step sets aside is not shown to the next."""
        tidied, changed = self.clean.apply(rows)
        tidied = self.said.edited(tidied) if self.said else tidied
        passed = Passed(tidied, changed=changed.height, examples={"clean": _changes(rows, changed)})
        for step in self.row_steps:
            passed.set_aside(step.name, self._heeded(step.name, passed.kept, step.find(passed.kept)))
        if self.finish:
            passed.kept = self.finish(passed.kept)
        return passed

    def _heeded(self, rule: str, rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
        """Findings less those that only warn, and those from which a person restored the row."""
        found = found.filter(pl.col("verdict") != "warn").unique("row", keep="first", maintain_order=True)
        if self.said is None or not found.height:
            return found
        return found.filter(~self.said.restores(rows[found["row"].to_list()], rule))


@dataclass
class Passed:
    """A batch after the row steps: rows that go on, rows set aside with their reasons, and the counts."""

    kept: pl.DataFrame
    changed: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    aside: list[pl.DataFrame] = field(default_factory=list)
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def set_aside(self, rule: str, found: pl.DataFrame) -> None:
        """Move the rows of these findings from `kept` to `aside`."""
        self.counts[rule] = Counter(found["verdict"].to_list())
        if not found.height:
            return
        self.examples[rule] = in_words(self.kept, found)
        self.aside.append(with_reasons(self.kept, found, rule))
        stays = np.ones(self.kept.height, bool)
        stays[found["row"].to_numpy()] = False
        self.kept = self.kept.filter(pl.Series(stays))


def with_reasons(rows: pl.DataFrame, found: pl.DataFrame, rule: str) -> pl.DataFrame:
    """The rows that findings are about, with their reasons; `row` counts within `rows`."""
    reasons = found.select("value", "threshold", "twin", "verdict", rule=pl.lit(rule))
    return pl.concat([rows[found["row"].to_list()], reasons], how="horizontal")


def _changes(rows: pl.DataFrame, changed: pl.DataFrame) -> list[str]:
    return in_words(rows, changed, EXAMPLES)


def sift(
    source: Table, part: str, sieve: Sieve, aside: TableWriter, work: Path, engine: Engine, funnel: Funnel
) -> Table:
    """The rows of `source` that pass every step, as a table whose file is `work`.

    Rows set aside go to `aside`, with `part` as their split; each step is noted in `funnel`.
    """
    columns = [*source.columns, *(name for name in ("group",) if name not in source.columns)]
    kept = _row_steps(source, part, sieve, aside, work, columns, engine, funnel)
    found: list[pl.DataFrame] = []
    for step in sieve.table_steps:
        before = kept.rows
        findings_ = _heeded(sieve, step, kept, step.search(kept, engine))
        examples = _first_in_words(kept, findings_)
        kept = kept.without(findings_["row"].to_numpy())
        review = findings_.filter(pl.col("verdict") == "review").height
        funnel.note(step.name, before, kept.rows, step.reason, examples, review)
        found.append(findings_.with_columns(rule=pl.lit(step.name)))
    _write_aside(kept, found, part, aside)
    return kept


def _row_steps(
    source: Table,
    part: str,
    sieve: Sieve,
    aside: TableWriter,
    work: Path,
    columns: Sequence[str],
    engine: Engine,
    funnel: Funnel,
) -> Table:
    rows_in, changed = source.rows, 0
    counts: dict[str, Counter[str]] = {step.name: Counter() for step in sieve.row_steps}
    examples: dict[str, list[str]] = {}
    with TableWriter(work, columns) as writer:
        for passed in engine.map(sieve, source.batches()):
            writer.write(passed.kept)
            if passed.aside:
                gone = pl.concat(passed.aside).sort(Table.INDEX)  # so that the file does not depend on the batches
                aside.write(gone.with_columns(split=pl.lit(part)))
            changed += passed.changed
            examples = merged([examples, passed.examples])
            for name, counted in passed.counts.items():
                counts[name].update(counted)
    reason = f"{changed:,} rows had blanks, characters or markup to tidy"
    funnel.note("clean", rows_in, rows_in, reason, examples.get("clean", ()))
    for step in sieve.row_steps:
        left = rows_in - counts[step.name].total()
        shown = examples.get(step.name, ())
        funnel.note(step.name, rows_in, left, step.reason, shown, counts[step.name]["review"])
        rows_in = left
    return Table(work)


def _heeded(sieve: Sieve, step: TableStep, table: Table, found: pl.DataFrame) -> pl.DataFrame:
    found = found.filter(pl.col("verdict") != "warn").unique("row", keep="first", maintain_order=True).sort("row")
    if sieve.said is None or not found.height:
        return found
    kept_back = [
        batch[Table.INDEX].filter(sieve.said.restores(batch, step.name))
        for batch in table.only(found["row"].to_numpy()).batches()
    ]
    restored = pl.concat(kept_back)
    return found.filter(~pl.col("row").is_in(restored.implode())) if restored.len() else found


def _first_in_words(table: Table, found: pl.DataFrame) -> list[str]:
    first = found.sort("row").head(EXAMPLES)
    if not first.height:
        return []
    rows = table.only(first["row"].to_numpy()).frame()
    return in_words(rows, first.with_columns(row=pl.int_range(first.height, dtype=pl.Int64)))


def _write_aside(table: Table, found: Sequence[pl.DataFrame], part: str, aside: TableWriter) -> None:
    """The rows that table steps set aside, in file order, read in one pass."""
    together = pl.concat(found) if found else findings.none().with_columns(rule=pl.lit(""))
    if not together.height:
        return
    for batch in table.only(together["row"].to_numpy()).batches():
        reasons = batch.join(together, left_on=Table.INDEX, right_on="row", how="left", maintain_order="left")
        aside.write(reasons.with_columns(split=pl.lit(part)))
