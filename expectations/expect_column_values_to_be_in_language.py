"""Expect prose in one of the languages that the data should be in."""

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
from posttrain.data.rules.prose import InLanguage


class IsInLanguage(ColumnMapMetricProvider):
    """True for each value that is not surely in a language other than `languages`."""

    condition_metric_name = "column_values.posttrain_is_in_language"
    condition_value_keys = ("languages",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, languages: tuple[str, ...], **kwargs: Any) -> pd.Series:
        return holds(InLanguage("value", languages=languages), {"value": column})


class ExpectColumnValuesToBeInLanguage(ColumnMapExpectation):
    """Expect prose to be in one of `languages` (ISO 639 codes; none: any), as far as that can be told for sure."""

    languages: Any = ()

    map_metric = "column_values.posttrain_is_in_language"
    success_keys: ClassVar[tuple[str, ...]] = ("languages", "mostly")
