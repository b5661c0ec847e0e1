"""Expect no pair to come back with its sides exchanged: nobody can say which answer is better."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)

from expectations.by_rule import holds
from posttrain.data.rules.preference import PairsAgree


class AgreesWithPairs(MulticolumnMapMetricProvider):
    """True for each prompt, chosen and rejected that does not come elsewhere with the sides exchanged."""

    condition_metric_name = "multicolumn_values.posttrain_agrees_with_pairs"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> pd.Series:
        names = tuple(column_list.columns)
        return holds(PairsAgree(names), {name: column_list[name] for name in names})


class ExpectMulticolumnPairsToAgree(MulticolumnMapExpectation):
    """Expect no pair of `column_list` (prompt, chosen, rejected) to come again with the sides exchanged."""

    map_metric = "multicolumn_values.posttrain_agrees_with_pairs"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
