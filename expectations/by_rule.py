"""What our own expectations ask: the rule of the library that is their twin, on the columns that they are given.

So the verdict of Great Expectations on a row is that of the rule; for its built-in expectations it is its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import polars as pl

from posttrain.data.rules import RowRule, TableRule
from posttrain.data.rules.registry import ROW


def holds(rule: RowRule | TableRule, columns: Mapping[str, pd.Series]) -> pd.Series:
    """Whether each row of these columns, by their names in the rule's arguments, keeps the rule."""
    rows = pl.DataFrame({name: pl.Series(values.tolist(), dtype=pl.String) for name, values in columns.items()})
    broken = rule.search(rule.sketch(rows))[ROW] if isinstance(rule, TableRule) else rule.find(rows)["row"]
    good = np.ones(rows.height, bool)
    good[broken.to_numpy()] = False
    return pd.Series(good, index=next(iter(columns.values())).index)
