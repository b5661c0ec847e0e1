"""After the first pass: what becomes of rows that are found later, and the rules that compare rows.

Rows are named by their position in the spool. Knows no thresholds, nor who finds rows beyond those rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.funnel import EXAMPLES
from posttrain.data.rules.expectation import Expectation, Severity
from posttrain.data.rules.registry import OTHER, ROW, TableRule
from posttrain.data.validate.book import RuleBook
from posttrain.data.validate.examine import FOUND, Restored
from posttrain.data.validate.intake import Intake
from posttrain.data.validate.sample import BAD
from posttrain.errors import DataError


@dataclass
class Part:
    """A split whose rows are being settled.

    `heeded`: whether rows may be set aside; if not, what would be is only warned about. `alive`: which rows of the
    spool go on. `aside` and `warned`: findings (row, rule, value, threshold, twin) about rows of the spool.
    `looked_at`: positions that Great Expectations must see: some rows found here, and those they were compared with.
    `whole_table`: rules about the table as a whole that do not hold, and what was found.
    """

    intake: Intake
    book: RuleBook
    heeded: bool
    verdicts: Restored | None = None
    alive: np.ndarray = field(init=False)
    aside: list[pl.DataFrame] = field(default_factory=list)
    warned: list[pl.DataFrame] = field(default_factory=list)
    looked_at: list[np.ndarray] = field(default_factory=list)
    whole_table: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alive = np.ones(self.intake.kept, bool)
        for rule, found in self.intake.stopped.items():
            raise self.stop(rule, found[0], sum(part.height for part in found))

    @property
    def split(self) -> str:
        """The split's name in the spec."""
        return self.intake.split

    @property
    def left(self) -> int:
        """Rows that go on."""
        return int(self.alive.sum())

    def fetch(self, positions: np.ndarray, columns: Sequence[str]) -> pl.DataFrame:
        """These rows of the spool, in the order asked for."""
        wanted = np.unique(positions)
        rows = [batch.select(columns) for batch in self.intake.spool.at(wanted, columns)]
        none = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        return pl.concat([none, *rows])[np.searchsorted(wanted, positions)]

    def settle(self, rule: str, severity: Severity, found: pl.DataFrame) -> None:
        """Act on findings about rows of the spool; those about rows that are gone already do not count.

        Raises `DataError` when the rule's severity is stop.
        """
        found = found.filter(pl.Series(self.alive[found["row"].to_numpy()])).sort("row", maintain_order=True)
        found = found.unique("row", keep="first", maintain_order=True)
        if severity != "warn" and found.height:
            restored = self._restored(rule, found["row"].to_numpy())
            self._warn(rule, found.filter(restored))
            found = found.filter(~restored)
        if not found.height:
            return
        if severity == "stop":
            raise self.stop(rule, self._with_row(found), found.height)
        if severity == "warn" or not self.heeded:
            self._warn(rule, found)
            return
        self.aside.append(found.select("row", pl.lit(rule).alias("rule"), *FOUND[1:]))
        self.alive[found["row"].to_numpy()] = False
        self.intake.counts.add(rule, "quarantine", self._with_row(found))

    def _warn(self, rule: str, found: pl.DataFrame) -> None:
        if found.height:
            self.warned.append(found.select("row", pl.lit(rule).alias("rule"), *FOUND[1:]))

    def _restored(self, rule: str, positions: np.ndarray) -> pl.Series:
        if self.verdicts is None:
            return pl.repeat(False, len(positions), dtype=pl.Boolean, eager=True)
        return pl.concat([self.verdicts.restores(batch, rule) for batch in self.intake.spool.at(positions)])

    def _with_row(self, found: pl.DataFrame) -> pl.DataFrame:
        """The findings, the first of them with their sources and prompts."""
        columns = [name for name in ("source", "prompt") if name in self.intake.columns]
        first = self.fetch(found["row"].head(EXAMPLES).to_numpy(), columns)
        rest = first.clear(found.height - first.height)
        return pl.concat([found, pl.concat([first, rest])], how="horizontal")

    def stop(self, rule: str, rows: pl.DataFrame, count: int) -> DataError:
        """What is said when a rule of severity stop is broken."""
        first = rows.row(0, named=True)
        return DataError(
            f"{first['source']}: breaks rule {rule} (found {first['value']}, expected {first['threshold']}), one of "
            f"{count:,} in data.{self.split}; mend them or set validate.severity.{rule}: quarantine"
        )


def compare(part: Part) -> None:
    """Settle the expectations that need all rows, in the suite's order."""
    intake = part.intake
    tables = {entry.order: entry for entry in part.book.on_tables}
    for order in sorted([*tables, *intake.pending]):
        expectation = part.book.expectations[order]
        if order in intake.pending:
            found, asked = pl.concat(intake.pending.pop(order)), intake.asked[order]
        else:
            sketches = pl.concat(intake.sketches.pop(order))
            sketches = sketches.filter(pl.Series(part.alive[sketches[ROW].to_numpy()]))
            asked = sketches[ROW].n_unique() if expectation.mostly < 1 else sketches.height
            found = _compared(part, tables[order].twin, sketches)
        if not holds(expectation, found.height, asked):
            part.settle(expectation.rule, expectation.severity, found)


def _compared(part: Part, twin: TableRule, sketches: pl.DataFrame) -> pl.DataFrame:
    found = twin.search(sketches)
    if not found.height:
        return findings.none()
    rows, others = found[ROW].to_numpy().astype(np.int64), found[OTHER].to_numpy().astype(np.int64)
    part.looked_at.append(np.concatenate([rows[:BAD], others[:BAD]]))
    both = part.fetch(np.concatenate([rows, others]), ["id", *twin.described])
    theirs = both.tail(len(others))
    values, threshold = twin.describe(both.head(len(rows)), theirs, sketches)
    twins = [other if mine != at else "" for mine, at, other in zip(rows, others, theirs["id"], strict=True)]
    return findings.findings(pl.Series(rows), values, threshold, twins)


def holds(expectation: Expectation, broken: int, asked: int) -> bool:
    """Whether the expectation holds because most rows keep it."""
    return asked == 0 or (asked - broken) / asked >= expectation.mostly
