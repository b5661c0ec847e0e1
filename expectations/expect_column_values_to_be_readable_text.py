"""Expect text without replacement characters, control characters or mojibake. The pattern for further expectations."""

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
from posttrain.data.rules.prose import Readable


class ReadableText(ColumnMapMetricProvider):
    """True for each value in which the rule `Readable` finds nothing."""

    condition_metric_name = "column_values.posttrain_readable_text"
    condition_value_keys = ()

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **kwargs: Any) -> pd.Series:
        return holds(Readable("value"), {"value": column})


class ExpectColumnValuesToBeReadableText(ColumnMapExpectation):
    """Expect column values to be readable text: no U+FFFD, control characters or mojibake."""

    map_metric = "column_values.posttrain_readable_text"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
