"""Expect JSON lists of ratings by different annotators."""

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
from posttrain.data.rules.preference import Ratings


class IsRatings(ColumnMapMetricProvider):
    """True for each value that is a list of {annotator, rating}, each annotator once."""

    condition_metric_name = "column_values.posttrain_is_ratings"
    condition_value_keys = ()

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **kwargs: Any) -> pd.Series:
        return holds(Ratings("value"), {"value": column})


class ExpectColumnValuesToBeRatings(ColumnMapExpectation):
    """Expect column values to be JSON lists of {annotator, rating}, with numbers, each annotator once."""

    map_metric = "column_values.posttrain_is_ratings"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)
