"""Expect prose that does not repeat itself (S3: 0.70, on runs of words); JSON, code and labels are exempt."""

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
from posttrain.data.rules.prose import DistinctWordRatio


class HasDistinctWordRatio(ColumnMapMetricProvider):
    """True for each value that is no prose or whose share of distinct runs of words reaches `min_ratio`."""

    condition_metric_name = "column_values.posttrain_has_distinct_word_ratio"
    condition_value_keys = ("min_ratio", "kind")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, min_ratio: float, kind: str, **kwargs: Any) -> pd.Series:
        return holds(DistinctWordRatio("value", min_ratio=min_ratio, kind=kind), {"value": column})


class ExpectColumnValuesToHaveDistinctWordRatio(ColumnMapExpectation):
    """Expect the share of distinct runs of words to be at least `min_ratio` in every window of about 50 words."""

    min_ratio: Any = 0.70
    kind: Any = "text"

    map_metric = "column_values.posttrain_has_distinct_word_ratio"
    success_keys: ClassVar[tuple[str, ...]] = ("min_ratio", "kind", "mostly")
