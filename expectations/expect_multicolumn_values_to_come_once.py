"""Expect no row to repeat an earlier one in some columns; blanks at the ends do not count."""

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
from posttrain.data.rules.table import ComeOnce


class ComesOnce(MulticolumnMapMetricProvider):
    """True for each row that did not come before; of twins, the first is fine."""

    condition_metric_name = "multicolumn_values.posttrain_comes_once"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> pd.Series:
        names = tuple(column_list.columns)
        return holds(ComeOnce(names), {name: column_list[name] for name in names})


class ExpectMulticolumnValuesToComeOnce(MulticolumnMapExpectation):
    """Expect the values of `column_list` to come together once; of twins, the first is fine."""

    map_metric = "multicolumn_values.posttrain_comes_once"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
