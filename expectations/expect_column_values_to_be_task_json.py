"""Expect completions to be labels of the task's kind: JSON with intent and slots, or JSON of the task's schema."""

from __future__ import annotations

from collections.abc import Mapping
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
from posttrain.data.rules.label import TaskJson


class IsTaskJson(ColumnMapMetricProvider):
    """True for each value that is a label of this `kind` and matches `json_schema`."""

    condition_metric_name = "column_values.posttrain_is_task_json"
    condition_value_keys = ("kind", "json_schema")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, kind: str, json_schema: Mapping[str, Any] | None, **kwargs: Any) -> pd.Series:
        return holds(TaskJson("value", kind=kind, json_schema=json_schema), {"value": column})


class ExpectColumnValuesToBeTaskJson(ColumnMapExpectation):
    """Expect column values to be labels of the task's `kind`, matching its JSON Schema; text accepts anything."""

    kind: Any = "intent_slots"
    json_schema: Any = None

    map_metric = "column_values.posttrain_is_task_json"
    success_keys: ClassVar[tuple[str, ...]] = ("kind", "json_schema", "mostly")
