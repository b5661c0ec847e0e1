"""Expect intents and slot names that are used now and then: a rare one is probably a typing error."""

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
from posttrain.data.rules.table import CommonLabels


class HasCommonLabels(ColumnMapMetricProvider):
    """True for each value that names no intent and no slot with less than `min_share` of all uses."""

    condition_metric_name = "column_values.posttrain_has_common_labels"
    condition_value_keys = ("kind", "min_share")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, kind: str, min_share: float, **kwargs: Any) -> pd.Series:
        return holds(CommonLabels("value", kind=kind, min_share=min_share), {"value": column})


class ExpectColumnValuesToHaveCommonLabels(ColumnMapExpectation):
    """Expect every intent and slot name of column values to have at least `min_share` of all uses of its sort."""

    kind: Any = "intent_slots"
    min_share: Any = 0.001

    map_metric = "column_values.posttrain_has_common_labels"
    success_keys: ClassVar[tuple[str, ...]] = ("kind", "min_share", "mostly")
