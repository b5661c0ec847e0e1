"""Expect a prompt to have one label: the same words never come with two different completions."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.column_pair_condition_partial import (
    column_pair_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_pair_map_metric_provider import (
    ColumnPairMapMetricProvider,
)

from expectations.by_rule import holds
from posttrain.data.rules.table import OneLabel


class PairHasOneLabel(ColumnPairMapMetricProvider):
    """True for each pair whose prompt, compared by its words, has no other completion; always, for prose."""

    condition_metric_name = "column_pair_values.posttrain_pair_has_one_label"
    condition_domain_keys = ("column_A", "column_B")
    condition_value_keys = ("kind",)

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: pd.Series, column_B: pd.Series, kind: str, **kwargs: Any) -> pd.Series:
        return holds(OneLabel("A", "B", kind=kind), {"A": column_A, "B": column_B})


class ExpectColumnPairValuesToHaveOneLabel(ColumnPairMapExpectation):
    """Expect every prompt (`column_A`) to come with one completion (`column_B`) only, if `kind` has labels."""

    kind: Any = "intent_slots"

    map_metric = "column_pair_values.posttrain_pair_has_one_label"
    success_keys: ClassVar[tuple[str, ...]] = ("kind", "mostly")
