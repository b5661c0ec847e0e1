"""Expect slot values without blanks at their ends; of tasks of kind intent_slots only."""

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
from posttrain.data.rules.label import TrimmedSlots


class HasTrimmedSlots(ColumnMapMetricProvider):
    """True for each value that is no label or has trimmed slots only."""

    condition_metric_name = "column_values.posttrain_has_trimmed_slots"
    condition_value_keys = ("kind",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, kind: str, **kwargs: Any) -> pd.Series:
        return holds(TrimmedSlots("value", kind=kind), {"value": column})


class ExpectColumnValuesToHaveTrimmedSlots(ColumnMapExpectation):
    """Expect the slot values of column values to have no blanks at their ends."""

    kind: Any = "intent_slots"

    map_metric = "column_values.posttrain_has_trimmed_slots"
    success_keys: ClassVar[tuple[str, ...]] = ("kind", "mostly")
