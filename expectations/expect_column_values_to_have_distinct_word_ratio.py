"""Expect prose that does not repeat itself (S3: 0.70, measured on word pairs in windows); JSON is exempt."""

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

from posttrain.data.labels import is_json
from posttrain.data.text import distinct_word_share


class DistinctWordRatio(ColumnMapMetricProvider):
    """True for each value that is JSON or whose `posttrain.data.text.distinct_word_share` reaches `min_ratio`."""

    condition_metric_name = "column_values.posttrain_distinct_word_ratio"
    condition_value_keys = ("min_ratio",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, min_ratio: float, **kwargs: Any) -> pd.Series:
        return column.map(lambda text: is_json(text) or distinct_word_share(text) >= min_ratio).astype(bool)


class ExpectColumnValuesToHaveDistinctWordRatio(ColumnMapExpectation):
    """Expect the share of distinct word pairs to be at least `min_ratio` in every window of about 50 words."""

    min_ratio: Any = 0.70

    map_metric = "column_values.posttrain_distinct_word_ratio"
    success_keys: ClassVar[tuple[str, ...]] = ("min_ratio", "mostly")
