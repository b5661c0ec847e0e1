"""Expect the chosen and the rejected answer to say different things."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.column_pair_condition_partial import (
    column_pair_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_pair_map_metric_provider import (
    ColumnPairMapMetricProvider,
)

from expectations.by_rule import holds
from posttrain.data.rules.preference import Differ


class PairDiffers(ColumnPairMapMetricProvider):
    """True for each pair that differs by more than case, blanks and Unicode forms."""

    condition_metric_name = "column_pair_values.posttrain_pair_differs"
    condition_domain_keys = ("column_A", "column_B")
    condition_value_keys = ()

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: pd.Series, column_B: pd.Series, **kwargs: Any) -> pd.Series:
        return holds(Differ("A", "B"), {"A": column_A, "B": column_B})


class ExpectColumnPairValuesToDiffer(ColumnPairMapExpectation):
    """Expect the texts of `column_A` and `column_B` to differ by more than case, blanks and Unicode forms."""

    map_metric = "column_pair_values.posttrain_pair_differs"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
