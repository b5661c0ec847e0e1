"""Expect prose of a sensible length (S3: 10 to 2,000 characters); JSON, code and labels are exempt."""

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
from posttrain.data.rules.prose import ProseLength


class HasProseLength(ColumnMapMetricProvider):
    """True for each value that is no prose or has `min_value` to `max_value` characters."""

    condition_metric_name = "column_values.posttrain_has_prose_length"
    condition_value_keys = ("min_value", "max_value", "kind")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, min_value: int, max_value: int, kind: str, **kwargs: Any) -> pd.Series:
        return holds(ProseLength("value", min_value=min_value, max_value=max_value, kind=kind), {"value": column})


class ExpectColumnValuesToHaveProseLength(ColumnMapExpectation):
    """Expect prose to have `min_value` to `max_value` characters; Chinese ones weigh more at the lower end."""

    min_value: Any = 10
    max_value: Any = 2000
    kind: Any = "text"

    map_metric = "column_values.posttrain_has_prose_length"
    success_keys: ClassVar[tuple[str, ...]] = ("min_value", "max_value", "kind", "mostly")
