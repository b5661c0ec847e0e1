"""Expect text without keys, tokens or passwords of real services."""

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
from posttrain.data.rules.prose import NoSecrets


class LeaksNoSecrets(ColumnMapMetricProvider):
    """True for each value in which the rule `NoSecrets` finds nothing."""

    condition_metric_name = "column_values.posttrain_leaks_no_secrets"
    condition_value_keys = ()

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **kwargs: Any) -> pd.Series:
        return holds(NoSecrets("value"), {"value": column})


class ExpectColumnValuesToLeakNoSecrets(ColumnMapExpectation):
    """Expect column values to leak no secrets, as far as its form gives it away."""

    map_metric = "column_values.posttrain_leaks_no_secrets"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
