"""Great Expectations has its say: on all rows of a small split, on the bad ones and a sample of a large one.

It decides alone where an expectation has no twin; elsewhere it confirms, and what it finds beyond the rules is acted
on too. The only module of `posttrain` that calls Great Expectations, by way of `expectations.checkpoint`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from posttrain.data import findings
from posttrain.data.rules.expectation import Expectation
from posttrain.data.validate.book import RuleBook
from posttrain.data.validate.examine import STYLE, WARNINGS, styles
from posttrain.data.validate.sample import AT, KEPT, RULE
from posttrain.data.validate.settle import Part
from posttrain.data.validate.spool import Spool
from posttrain.errors import DataError

if TYPE_CHECKING:
    from expectations.checkpoint import Broken, Checkpoint


class Assertion:
    """The suite of a split before Great Expectations. Made before any row is read, so that a bad suite is refused soon.

    `kind` is the task's ("text" for general rows). Raises `DataError` for an expectation that does not exist.
    """

    def __init__(self, checkpoint: Checkpoint, split: str, suite: str, book: RuleBook, kind: str) -> None:
        from expectations.checkpoint import row_wise

        self.checkpoint, self.split, self.kind = checkpoint, split, kind
        self.name = f"{suite} ({split})"
        self.all = list(book.expectations)
        self._suite = checkpoint.suite(self.name, self.all)
        self.alone = [expectation for expectation in book.without_twin if row_wise(expectation)]
        counted = [
            *(entry.order for entry in book.on_counts),
            *(e.order for e in book.on_tables if not e.twin.on_sample),
        ]
        self.on_sample = [each for order, each in enumerate(self.all) if order not in counted]

    def hold(self, part: Part) -> list[Broken]:
        """Check the split as received and, if heeded, as it goes on; settle what is found. What is left is returned:
        expectations about the table as a whole."""
        sample = part.intake.sample
        of = 0 if sample.whole else sample.received
        asked = self.all if sample.whole else self.on_sample
        suite = self.checkpoint.suite(f"{self.name} sample", asked) if of else self._suite
        seen = self._seen(part)

        def run(name: str, rows: pl.DataFrame) -> list[Broken]:
            return self.checkpoint.run(f"{part.split} {name}", suite, asked, rows, of)

        broken = run("as received", seen)
        self._settle_alone(part, broken if sample.whole else None, seen)
        if part.heeded:
            broken = run("after quarantine", _left(seen, part))
        left = part.left
        self._settle(part, broken, seen)
        if part.left < left:
            broken = run("after quarantine by the suite", _left(seen, part))
        return [item for item in broken if not item.ids]

    def _seen(self, part: Part) -> pl.DataFrame:
        """The rows that are shown to Great Expectations, in the order in which they were received."""
        seen = part.intake.sample.frame()
        if not part.intake.sample.whole and part.looked_at:
            positions = np.setdiff1d(np.concatenate(part.looked_at), seen[KEPT].to_numpy())
            more = part.fetch(positions, [*part.intake.columns, WARNINGS])
            # Their order among the others is what counts: a row that went on stands where its place in the spool is.
            more = more.with_columns(pl.Series(AT, positions), pl.Series(KEPT, positions), pl.lit("").alias(RULE))
            seen = pl.concat([seen.filter(pl.col(KEPT) < 0), _by_place(seen, more)])
        return seen if STYLE in seen.columns else seen.with_columns(styles(seen, self.kind))

    def _settle_alone(self, part: Part, broken: Sequence[Broken] | None, seen: pl.DataFrame) -> None:
        """Act on what only Great Expectations can decide of single rows."""
        if broken is not None:
            for item in broken:
                if item.expectation in self.alone:
                    part.settle(item.expectation.rule, item.expectation.severity, _found(item, seen))
            return
        suite = self.checkpoint.suite(f"{self.name} alone", self.alone)
        found: dict[int, list[pl.DataFrame]] = {}
        for rows in self._chunks(part) if self.alone else ():
            for item in self.checkpoint.judge(suite, self.alone, rows):
                found.setdefault(item.place, []).append(_found(item, rows))
        for place, parts in sorted(found.items()):
            part.settle(self.alone[place].rule, self.alone[place].severity, pl.concat(parts))

    def _chunks(self, part: Part) -> Iterator[pl.DataFrame]:
        for rows in part.intake.spool.batches(part.alive):
            yield rows.rename({Spool.INDEX: KEPT}).with_columns(styles(rows, self.kind))

    def _settle(self, part: Part, broken: Iterable[Broken], seen: pl.DataFrame) -> None:
        """Act on rows that are named under a rule which has not warned of them."""
        known = _known(part, seen)
        for item in broken:
            found = _found(item, seen)
            rule = item.expectation.rule
            found = found.filter(pl.Series([(rule, row) not in known for row in found["row"]], dtype=pl.Boolean))
            part.settle(rule, item.expectation.severity, found)


def _by_place(seen: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([seen.filter(pl.col(KEPT) >= 0), more.select(seen.columns)]).sort(KEPT)


def _left(seen: pl.DataFrame, part: Part) -> pl.DataFrame:
    """Those rows that go on."""
    kept = seen[KEPT].to_numpy()
    alive = np.zeros(seen.height, bool)
    alive[kept >= 0] = part.alive[kept[kept >= 0]]
    return seen.filter(pl.Series(alive))


def _found(item: Broken, rows: pl.DataFrame) -> pl.DataFrame:
    """What Great Expectations names, as findings about rows of the spool."""
    named = rows.filter(pl.col("id").is_in(list(item.ids)) & (pl.col(KEPT) >= 0))
    return findings.findings(named[KEPT].cast(pl.Int64), "fails", item.expectation.type)


def _known(part: Part, seen: pl.DataFrame) -> set[tuple[str, int]]:
    """(rule, row) of all warnings about these rows."""
    said = seen.filter((pl.col(WARNINGS) != "") & (pl.col(KEPT) >= 0))
    own = {(warning[0], row) for row, text in said.select(KEPT, WARNINGS).iter_rows() for warning in json.loads(text)}
    return own.union(*(set(found.select("rule", "row").iter_rows()) for found in part.warned))


def on_counts(part: Part) -> Iterator[tuple[Expectation, str]]:
    """The expectations on the number of rows that do not hold, and the number."""
    count = part.left if part.heeded else part.intake.received
    for entry in part.book.on_counts:
        if wrong := entry.twin.wrong(count):
            yield entry.expectation, wrong


def settle_whole(part: Part, expectation: Expectation, observed: str) -> None:
    """What is about the table as a whole can only be warned about, or stop the run.

    Raises `DataError` unless the severity is warn or the split is only measured on.
    """
    if expectation.severity != "warn" and part.heeded:
        raise DataError(
            f"data.{part.split}: {expectation.type} fails (found {observed or 'otherwise'}); mend the data, or set "
            f"validate.severity.{expectation.rule}: warn"
        )
    part.whole_table.append((expectation.rule, observed))
