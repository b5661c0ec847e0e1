"""Expect no row to repeat an earlier one: same prompt and same completion, but for blanks at the ends."""

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


class UniquePairs(ColumnPairMapMetricProvider):
    """True for each pair that did not come before; of twins, the first is fine."""

    condition_metric_name = "column_pair_values.posttrain_unique_pairs"
    condition_domain_keys = ("column_A", "column_B")
    condition_value_keys = ()

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: pd.Series, column_B: pd.Series, **kwargs: Any) -> pd.Series:
        pairs = pd.DataFrame({"prompt": column_A.str.strip(), "completion": column_B.str.strip()})
        return ~pairs.duplicated()


class ExpectColumnPairValuesToBeUniquePairs(ColumnPairMapExpectation):
    """Expect each pair of values to come once; blanks at the ends do not count."""

    map_metric = "column_pair_values.posttrain_unique_pairs"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
