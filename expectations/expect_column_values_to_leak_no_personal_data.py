"""Expect text without mail addresses, telephone, card, account or identity numbers of people."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)

from expectations.by_rule import holds
from posttrain.data.rules.prose import NoPersonalData


class LeaksNoPersonalData(ColumnMapMetricProvider):
    """True for each value in which the rule `NoPersonalData` finds nothing."""

    condition_metric_name = "column_values.posttrain_leaks_no_personal_data"
    condition_value_keys = ()

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **kwargs: Any) -> pd.Series:
        return holds(NoPersonalData("value"), {"value": column})


class ExpectColumnValuesToLeakNoPersonalData(ColumnMapExpectation):
    """Expect column values to leak no personal data, as far as its form gives it away."""

    map_metric = "column_values.posttrain_leaks_no_personal_data"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
