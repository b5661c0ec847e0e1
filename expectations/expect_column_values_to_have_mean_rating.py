"""Expect that enough annotators rated a row, and well (S3: three or more, a mean of at least 4.0 of 5)."""

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
from posttrain.data.rules.preference import MeanRating


class HasMeanRating(ColumnMapMetricProvider):
    """True for each list of ratings with `min_annotators` or more, whose mean reaches `min_mean`."""

    condition_metric_name = "column_values.posttrain_has_mean_rating"
    condition_value_keys = ("min_mean", "min_annotators")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, min_mean: float, min_annotators: int, **kwargs: Any) -> pd.Series:
        return holds(MeanRating("value", min_mean=min_mean, min_annotators=min_annotators), {"value": column})


class ExpectColumnValuesToHaveMeanRating(ColumnMapExpectation):
    """Expect ratings from at least `min_annotators` annotators with a mean of at least `min_mean`."""

    min_mean: Any = 4.0
    min_annotators: Any = 3

    map_metric = "column_values.posttrain_has_mean_rating"
    success_keys: ClassVar[tuple[str, ...]] = ("min_mean", "min_annotators", "mostly")
