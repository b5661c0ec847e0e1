"""Which rows of a split Great Expectations gets to see: all, as long as they are few; else the bad ones and a sample.

Rows come batch by batch, and what is kept does not depend on the batches. Knows nothing of rules but their names.
"""

from __future__ import annotations

import numpy as np
import polars as pl

ALL = 20_000
"""Up to so many rows a split is checked whole: Great Expectations takes a second or two for them."""
BAD = 200
"""Of a larger split, so many rows that a rule set aside are checked, for each rule: the first."""
OTHERS = 5_000
"""Of a larger split, so many other rows are checked, chosen by a hash of their ids."""

AT = "__at"
"""Position of a row among those received."""
KEPT = "__kept"
"""Position of a row among those that the rules on single rows let through; -1 for one that they did not."""
RULE = "__rule"
_LOT = "__lot"


class Sample:
    """The rows to be checked, with AT, KEPT and RULE (the rule that set it aside, or "")."""

    def __init__(self, columns: list[str], seed: int = 0) -> None:
        self.columns = columns
        self.seed = seed
        self.received = 0
        self._parts: list[pl.DataFrame] = []
        self._held = 0
        self._line = 2**64

    @property
    def whole(self) -> bool:
        """Whether it is all rows."""
        return self.received <= ALL

    def add(self, rows: pl.DataFrame, at: np.ndarray, kept: np.ndarray, rules: pl.Series) -> None:
        """Look at further rows: their positions as AT and KEPT say, and the rule of each that was set aside."""
        self.received += rows.height
        lots = rows["id"].hash(self.seed)
        marks = [pl.Series(AT, at), pl.Series(KEPT, kept), rules.alias(RULE), lots.alias(_LOT)]
        part = rows.select(pl.col(name) for name in self.columns if name in rows.columns)
        part = part.with_columns(marks)
        if self._line < 2**64:
            part = copied(part.filter((pl.col(RULE) != "") | (pl.col(_LOT) < self._line)))
        self._parts.append(part)
        self._held += part.height
        if self._held > 2 * ALL:
            self._thin()

    def frame(self) -> pl.DataFrame:
        """The rows, in the order in which they were received."""
        if not self.whole:
            self._thin()
        return pl.concat(self._parts, how="diagonal").drop(_LOT).sort(AT)

    def _thin(self) -> None:
        rows = pl.concat(self._parts, how="diagonal").sort(AT)
        bad = rows.filter(pl.col(RULE) != "")
        bad = bad.filter(pl.int_range(pl.len()).over(RULE) < BAD)
        others = rows.filter(pl.col(RULE) == "").sort(_LOT, AT).head(OTHERS)
        if others.height == OTHERS:
            self._line = int(others[_LOT].to_numpy().max()) + 1
        self._parts = [copied(pl.concat([bad, others]))]
        self._held = bad.height + others.height


def copied(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows in memory of their own: a few rows filtered out of a batch would keep all of its texts alive."""
    return pl.DataFrame(rows.to_dict(as_series=False), schema=rows.schema)
