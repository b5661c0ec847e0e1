"""A person's look at a random sample of the synthetic rows (S3: 30 %), and what follows from it for the rest.

The sample depends on what rows say, so that it is the same in every run. What people said of the sample of one
teacher decides on the rest of that teacher's rows, with the 95 % interval (Wilson) of the share they rejected:

| the interval | the rest |
| --- | --- |
| all of it at or below `max_rejected` | goes on |
| all of it above `max_rejected` | is set aside |
| in between, or nobody has looked yet | `undecided`: goes on with a warning, or waits for review |

Knows nothing of how verdicts are collected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from posttrain.data import findings
from posttrain.data.engine import Engine
from posttrain.data.synthetic.chance import share
from posttrain.data.table import Table
from posttrain.spec.sections.synthetic import SpotCheckSpec

SYNTHETIC = "synthetic"
Z = 1.959964
"""Standard deviations to either side that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Judgment:
    """What the sample says of the rest of a teacher's rows: rows looked at, rejected, and the interval of the share."""

    looked_at: int
    rejected: int
    low: float
    high: float
    rest: Literal["keep", "drop", "undecided"]

    @property
    def words(self) -> str:
        """On one line."""
        if not self.looked_at:
            return "nobody has looked at the sample yet"
        return f"{self.rejected:,} of {self.looked_at:,} rejected ({self.low:.1%} to {self.high:.1%})"


def interval(rejected: int, looked_at: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share; 0 to 1 when nobody has looked."""
    if not looked_at:
        return 0.0, 1.0
    share, spread = rejected / looked_at, Z * Z / looked_at
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def judge(rejected: int, looked_at: int, max_rejected: float) -> Judgment:
    """What `rejected` of `looked_at` rows say of the rest."""
    low, high = interval(rejected, looked_at)
    rest: Literal["keep", "drop", "undecided"] = "undecided"
    if high <= max_rejected:
        rest = "keep"
    elif low > max_rejected:
        rest = "drop"
    return Judgment(looked_at, rejected, low, high, rest)


@dataclass(frozen=True)
class SpotCheck:
    """A `RowStep`, and a `TableStep` that does the same, to be placed behind the duplicate steps.

    `said` is what people said so far: row id → whether they accepted it. `judgments` are by teacher
    (`with_verdicts` makes both from the rows).
    """

    spec: SpotCheckSpec
    said: Mapping[str, bool] = field(default_factory=dict)
    judgments: Mapping[str, Judgment] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The rule's name."""
        return "spot_check"

    @property
    def reason(self) -> str:
        """What it sets aside, in words."""
        rest = "go on all the same" if self.spec.undecided == "keep" else "wait too"
        told = "; ".join(f"{teacher or 'unnamed'}: {found.words}" for teacher, found in self.judgments.items())
        told = told or f"{judge(0, 0, self.spec.max_rejected).words}, and the other synthetic rows {rest}"
        return f"{self.spec.share:.0%} of the synthetic rows wait for a person's word; {told}"

    def with_verdicts(self, said: Mapping[str, bool], rows: pl.DataFrame) -> SpotCheck:
        """The step with what people said of sampled rows; `rows` has their id and teacher, and may hold others."""
        teachers = dict(rows.select("id", _teacher(rows)).iter_rows())
        accepted: dict[str, list[bool]] = {}
        for row, word in said.items():
            if row in teachers:
                accepted.setdefault(teachers[row], []).append(word)
        judgments = {
            teacher: judge(words.count(False), len(words), self.spec.max_rejected)
            for teacher, words in sorted(accepted.items())
        }
        return SpotCheck(self.spec, dict(said), judgments)

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """See `TableStep.search`."""
        return pl.concat([findings.none(), *engine.map(self._found, table.batches())])

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowStep.find`. A row counts as synthetic when its `origin` says so."""
        return self._found(rows.with_columns(pl.int_range(rows.height, dtype=pl.Int64).alias(Table.INDEX)))

    def _found(self, rows: pl.DataFrame) -> pl.DataFrame:
        if "origin" not in rows.columns or not self.spec.share:
            return findings.none()
        synthetic = rows.filter(pl.col("origin") == SYNTHETIC)
        texts = [name for name in ("system", "prompt", "completion", "chosen", "rejected") if name in rows.columns]
        asked = synthetic.select(Table.INDEX, "id", _teacher(rows), pl.concat_list(texts).alias("texts"))
        found = [(row, *verdict) for row, *rest in asked.iter_rows() if (verdict := self._verdict(*rest))]
        positions, verdicts, values, wanted = (
            (list(column) for column in zip(*found, strict=True)) if found else [[]] * 4
        )
        return findings.findings(positions, values, wanted, verdict=verdicts)

    def _verdict(self, row: str, teacher: str, texts: list[str]) -> tuple[str, str, str] | None:
        """(verdict, what was found, what is wanted) of a synthetic row; None when it goes on without a word."""
        if row in self.said:
            return None if self.said[row] else ("drop", "a person rejected it", "accepted in review")
        if share(self.spec.seed, "spot_check", *texts) < self.spec.share:
            return "review", "drawn for a look", f"{self.spec.share:.0%} of the synthetic rows are looked at"
        judgment = self.judgments.get(teacher) or judge(0, 0, self.spec.max_rejected)
        if judgment.rest == "keep":
            return None
        wanted = f"surely at most {self.spec.max_rejected:.0%} of the teacher's rows rejected"
        undecided = "warn" if self.spec.undecided == "keep" else "review"
        return ("drop" if judgment.rest == "drop" else undecided), judgment.words, wanted


def _teacher(rows: pl.DataFrame) -> pl.Expr:
    return pl.col("teacher") if "teacher" in rows.columns else pl.lit("").alias("teacher")
