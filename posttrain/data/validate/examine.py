"""One batch of rows against the rules on single rows: which go on, which do not, and sketches for what compares rows.

A pure function of the batch, so that it runs in any process: `Examine` is what travels there. Knows nothing of files,
of other batches, nor of how many rows may fail.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
import polars as pl

from posttrain.data.findings import findings
from posttrain.data.rows import shorten
from posttrain.data.rules import RowRule, TableRule, columns, condition
from posttrain.data.rules.expectation import Expectation, Severity
from posttrain.data.rules.registry import ROW, nearest
from posttrain.data.text import labels, prose
from posttrain.data.validate.book import Entry, RuleBook
from posttrain.errors import DataError

PROBLEM = ("problem_rule", "problem")
"""Columns of a row that could not be read as it should: the rule it breaks (or "") and what was found."""
WARNINGS = "__warnings"
"""Column of rows that go on: what they break all the same, a JSON list of [rule, value, threshold, twin]; or ""."""
FOUND = ("rule", "value", "threshold", "twin")
STYLE = "style"
"""Column that row conditions of suites may ask for: label (of a task whose completions are labels), json or prose."""
_EXPECTED = {"encoding": "readable text", "schema": "a row of the file's format"}


class Restored(Protocol):
    """What people have said (`posttrain.data.account.verdicts.Verdicts`)."""

    def restores(self, rows: pl.DataFrame, rule: str) -> pl.Series:
        """One flag a row: whether somebody restored it from this rule."""


@dataclass(frozen=True)
class Examined:
    """A batch after the rules on single rows.

    `kept` (with WARNINGS) and `gone` (with FOUND) are rows in order; `kept_at` and `gone_at` are their positions in
    the batch. `stopped`: rule -> rows that break it although its severity is stop. `pending`: of expectations that
    may hold `mostly`, by their place in the suite, the findings (rows count within `kept`), and in `asked` how many
    rows were looked at. `sketches`: likewise by place; rows count within `kept`.
    """

    kept: pl.DataFrame
    kept_at: np.ndarray
    gone: pl.DataFrame
    gone_at: np.ndarray
    stopped: dict[str, pl.DataFrame]
    pending: dict[int, pl.DataFrame]
    asked: dict[int, int]
    sketches: dict[int, pl.DataFrame]

    @property
    def received(self) -> int:
        """Rows in the batch."""
        return len(self.kept_at) + len(self.gone_at)


@dataclass(frozen=True)
class Examine:
    """What a split's batches are held against. Picklable.

    `kind` is the task's ("text" for general rows). `heeded`: whether rows may be set aside; if not, what would be is
    only warned about.
    """

    book: RuleBook
    split: str
    kind: str
    heeded: bool
    verdicts: Restored | None = None

    def __call__(self, rows: pl.DataFrame) -> Examined:
        """Hold one batch against the rules. Raises `DataError` when a rule reads a column that rows do not have."""
        batch = _Batch(self._prepared(rows))
        pending, asked = {}, {}
        for rule, found in _problems(batch.rows):
            self._settle(batch, rule, self.book.severity(rule), found)
        # Every rule looks at every row, all at the same time; one on a row that is gone by then is left out.
        every = [batch.about(entry.expectation) for entry in self.book.on_rows]
        results = _threads().map(_find, self.book.on_rows, every)
        for entry, about, result in zip(self.book.on_rows, every, results, strict=True):
            found = batch.still_there(about.placed(result))
            if entry.expectation.mostly < 1:
                pending[entry.order], asked[entry.order] = found, int(batch.alive[about.at].sum())
            else:
                self._settle(batch, entry.rule, entry.expectation.severity, found)
        sketches = {}
        for table in self.book.on_tables:
            about = batch.about(table.expectation)
            sketch = table.twin.sketch(about.rows)
            sketches[table.order] = sketch.with_columns(batch.kept_place(about.at[sketch[ROW].to_numpy()]).alias(ROW))
        added = [name for name in (STYLE,) if name not in rows.columns]
        return batch.examined([*PROBLEM, *added], pending, asked, sketches)

    def _prepared(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, with their style if a condition asks for it."""
        entries: tuple[Entry[RowRule] | Entry[TableRule], ...] = (*self.book.on_rows, *self.book.on_tables)
        for entry in entries:
            asked = condition.columns(entry.expectation.condition)
            for name in (*columns(entry.twin), *asked):
                if name == STYLE and name not in rows.columns:
                    rows = rows.with_columns(styles(rows, self.kind))
                elif name not in rows.columns:
                    raise self._no_column(rows, entry.expectation, name)
        return rows

    def _no_column(self, rows: pl.DataFrame, expectation: Expectation, name: str) -> DataError:
        present = [column for column in rows.columns if column not in (STYLE, *PROBLEM)]
        return DataError(
            f"{expectation.place}: found no column {name!r} in data.{self.split} (columns {', '.join(present)}); "
            f"{nearest(name, present)}"
        )

    def _settle(self, batch: _Batch, rule: str, severity: Severity, found: pl.DataFrame) -> None:
        if severity != "warn" and self.verdicts is not None and found.height:
            restored = self.verdicts.restores(batch.rows[found["row"]], rule)
            batch.warned.append((rule, found.filter(restored)))
            found = found.filter(~restored)
        if not found.height:
            return
        if severity == "stop":
            batch.stop(rule, found)
        elif severity == "warn" or not self.heeded:
            batch.warned.append((rule, found))
        else:
            batch.set_aside(rule, found)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Polars and NumPy let go of Python's lock while they work."""
    return ThreadPoolExecutor(os.cpu_count())


def _find(entry: Entry[RowRule], about: _Asked) -> pl.DataFrame:
    return entry.twin.find(about.rows)


def styles(rows: pl.DataFrame, kind: str) -> pl.Series:
    """What row conditions of suites go by: label, json or prose."""
    if kind in labels.LABEL_KINDS or "completion" not in rows.columns:
        return pl.Series(STYLE, ["label" if kind in labels.LABEL_KINDS else "prose"] * rows.height, dtype=pl.String)
    is_json = prose.is_json(rows["completion"])
    return pl.select(pl.when(is_json).then(pl.lit("json")).otherwise(pl.lit("prose")).alias(STYLE)).to_series()


def _problems(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Rule -> findings about rows that could not be read as they should."""
    if PROBLEM[0] not in rows.columns:
        return []
    rules, found = rows[PROBLEM[0]], []
    for rule in rules.unique().sort():
        at = (rules == rule).arg_true()
        words = [shorten(text) for text in rows[PROBLEM[1]].gather(at)]
        if rule:
            found.append((rule, findings(at.cast(pl.Int64), words, _EXPECTED.get(rule, "a row that can be read"))))
    return found


@dataclass(frozen=True)
class _Asked:
    """The rows that an expectation is about, and their positions in the batch."""

    rows: pl.DataFrame
    at: np.ndarray

    def placed(self, found: pl.DataFrame) -> pl.DataFrame:
        """Findings about these rows, with their positions in the batch."""
        return found.with_columns(pl.Series("row", self.at[found["row"].to_numpy()], dtype=pl.Int64))


@dataclass
class _Batch:
    """A batch on its way through the rules."""

    rows: pl.DataFrame
    warned: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    aside: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    stopped: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.alive = np.ones(self.rows.height, bool)

    def about(self, expectation: Expectation) -> _Asked:
        """The rows that are left and that the expectation is about."""
        asked = self.alive
        if expectation.condition is not None:
            where = condition.expression(expectation.condition)
            assert where is not None  # else it would have no twin
            asked = asked & self.rows.select(where.fill_null(False).alias("asked"))["asked"].to_numpy()
        return _Asked(_only(self.rows, asked), np.flatnonzero(asked))

    def set_aside(self, rule: str, found: pl.DataFrame) -> None:
        """These rows do not go on."""
        self.aside.append((rule, found))
        self.alive[found["row"].to_numpy()] = False

    def stop(self, rule: str, found: pl.DataFrame) -> None:
        """These rows break a rule that stops the run; they are few, or it stops soon."""
        self.stopped.setdefault(rule, []).append(_joined(self.rows, [(rule, found)]))

    def still_there(self, found: pl.DataFrame) -> pl.DataFrame:
        """The findings about rows that are left."""
        return found if self.alive.all() else found.filter(pl.Series(self.alive[found["row"].to_numpy()]))

    def kept_place(self, at: np.ndarray) -> pl.Series:
        """Positions in the batch -> positions among the rows that are left."""
        return pl.Series((np.cumsum(self.alive) - 1)[at], dtype=pl.UInt32)

    def examined(
        self,
        hidden: list[str],
        pending: dict[int, pl.DataFrame],
        asked: dict[int, int],
        sketches: dict[int, pl.DataFrame],
    ) -> Examined:
        """What the batch has come to; `hidden` columns are left out."""
        rows = self.rows.drop(hidden, strict=False)
        gone = _joined(rows, self.aside)
        left = {order: self.still_there(found) for order, found in pending.items()}
        return Examined(
            kept=_only(rows.with_columns(warnings(self.warned, rows.height)), self.alive),
            kept_at=np.flatnonzero(self.alive),
            gone=gone,
            gone_at=np.flatnonzero(~self.alive),
            stopped={rule: pl.concat(found) for rule, found in self.stopped.items()},
            pending={
                order: found.with_columns(self.kept_place(found["row"].to_numpy()).cast(pl.Int64).alias("row"))
                for order, found in left.items()
            },
            asked=asked,
            sketches=sketches,
        )


def _only(rows: pl.DataFrame, flags: np.ndarray) -> pl.DataFrame:
    """The rows that are flagged."""
    return rows if flags.all() else rows.filter(pl.Series(flags))


def _joined(rows: pl.DataFrame, found: list[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """The rows found, in their order, with the columns FOUND."""
    parts = [each.select("row", pl.lit(rule).alias("rule"), *FOUND[1:]) for rule, each in found]
    if not parts:
        return rows.head(0).with_columns(pl.lit("").alias(name) for name in FOUND)
    reasons = pl.concat(parts).sort("row", maintain_order=True)
    return pl.concat([rows[reasons["row"]], reasons.drop("row")], how="horizontal")


def warnings(found: list[tuple[str, pl.DataFrame]], height: int) -> pl.Series:
    """The column WARNINGS; a row that breaks two expectations of one rule is warned about once."""
    said: dict[int, dict[str, list[str]]] = {}
    for rule, each in found:
        for row, value, threshold, twin in each.select("row", *FOUND[1:]).iter_rows():
            said.setdefault(row, {}).setdefault(rule, [rule, value, threshold, twin])
    if not said:
        return pl.repeat("", height, dtype=pl.String, eager=True).alias(WARNINGS)
    texts = [json.dumps(list(said[row].values()), ensure_ascii=False) if row in said else "" for row in range(height)]
    return pl.Series(WARNINGS, texts, dtype=pl.String)
