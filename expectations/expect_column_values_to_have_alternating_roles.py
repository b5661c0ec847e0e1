"""Expect conversations in which user and assistant take turns, the assistant last."""

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
from posttrain.data.rules.preference import AlternatingRoles


class HasAlternatingRoles(ColumnMapMetricProvider):
    """True for each JSON list of {role, content} in which the rule `AlternatingRoles` finds nothing."""

    condition_metric_name = "column_values.posttrain_has_alternating_roles"
    condition_value_keys = ()

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **kwargs: Any) -> pd.Series:
        return holds(AlternatingRoles("value"), {"value": column})


class ExpectColumnValuesToHaveAlternatingRoles(ColumnMapExpectation):
    """Expect column values to be conversations: a system message or none, then user and assistant in turn."""

    map_metric = "column_values.posttrain_has_alternating_roles"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
