"""Expect completions to be labels of the task's kind: JSON with intent and slots, any JSON, or prose."""

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

from posttrain.data.labels import problem


class TaskJson(ColumnMapMetricProvider):
    """True for each value in which `posttrain.data.labels.problem` finds nothing."""

    condition_metric_name = "column_values.posttrain_task_json"
    condition_value_keys = ("kind",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, kind: str, **kwargs: Any) -> pd.Series:
        return column.map(lambda completion: not problem(completion, kind)).astype(bool)


class ExpectColumnValuesToBeTaskJson(ColumnMapExpectation):
    """Expect column values to be labels of the task's `kind` (intent_slots, extraction; text accepts anything)."""

    kind: Any = "intent_slots"

    map_metric = "column_values.posttrain_task_json"
    success_keys: ClassVar[tuple[str, ...]] = ("kind", "mostly")
