"""Expect slot values to stand in the prompt; of tasks of kind intent_slots only."""

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
from posttrain.data.rules.label import GroundedSlots


class PairGroundsSlots(ColumnPairMapMetricProvider):
    """True for each prompt and label whose slot values all stand in the prompt, but for case and blanks."""

    condition_metric_name = "column_pair_values.posttrain_pair_grounds_slots"
    condition_domain_keys = ("column_A", "column_B")
    condition_value_keys = ("kind",)

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: pd.Series, column_B: pd.Series, kind: str, **kwargs: Any) -> pd.Series:
        return holds(GroundedSlots("A", "B", kind=kind), {"A": column_A, "B": column_B})


class ExpectColumnPairValuesToGroundSlots(ColumnPairMapExpectation):
    """Expect the slot values of labels (`column_B`) to stand in their prompts (`column_A`)."""

    kind: Any = "intent_slots"

    map_metric = "column_pair_values.posttrain_pair_grounds_slots"
    success_keys: ClassVar[tuple[str, ...]] = ("kind", "mostly")
