"""Our custom expectations as one writes them with Great Expectations alone: functions of one value, mapped over pandas.

They ask the same of a value as the library's rules, of which they use whatever looks at a single text. For
`curation_validation.py` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pandas as pd
import polars as pl
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)

from posttrain.data.text import privacy, prose
from posttrain.data.text import words as text

WINDOW, RUN = 50, 4


def of_one_value(name: str, holds: Callable[..., bool], arguments: Mapping[str, Any]) -> None:
    """Make Great Expectations know an expectation on single values of a column."""
    metric = f"column_values.per_value_{name}"

    class PerValue(ColumnMapMetricProvider):
        condition_metric_name = metric
        condition_value_keys = tuple(arguments)

        @column_condition_partial(engine=PandasExecutionEngine)
        def _pandas(cls, column: pd.Series, **kwargs: Any) -> pd.Series:
            given = {key: kwargs[key] for key in arguments}
            return column.map(lambda value: holds(value, **given)).astype(bool)

    fields = {"map_metric": metric, "success_keys": (*arguments, "mostly"), **arguments}
    typed = {"__annotations__": dict.fromkeys(arguments, Any), "__module__": __name__}
    type("".join(part.title() for part in name.split("_")), (ColumnMapExpectation,), {**fields, **typed})


class ComesOnce(MulticolumnMapMetricProvider):
    """True for each row that did not come before."""

    condition_metric_name = "multicolumn_values.per_value_come_once"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> pd.Series:
        return ~column_list.apply(lambda column: column.str.strip()).duplicated()


class ExpectMulticolumnValuesToComeOnce(MulticolumnMapExpectation):
    """Expect the values of `column_list` to come together once."""

    map_metric = "multicolumn_values.per_value_come_once"


def is_exempt(value: str) -> bool:
    """Whether the value is JSON or code; asked of few values only."""
    return bool(prose.exempt(pl.Series([value])).item())


def has_length(value: str, min_value: int, max_value: int) -> bool:
    """Whether prose has a sensible length."""
    return (
        min_value <= len(value.strip()) <= max_value
        or not prose.length_problems(pl.Series([value]), min_value, max_value).item()
    )


def is_varied(value: str, min_ratio: float) -> bool:
    """Whether prose does not repeat itself: distinct runs of four words in windows of about 50."""
    words = text.words(value)
    threes = list(zip(*(words[start:] for start in range(RUN - 1)), strict=False))
    if len(threes) < 6:
        return True
    count = max(1, round(len(threes) / WINDOW))
    cuts = [len(threes) * number // count for number in range(count + 1)]
    shares = []
    for start, stop in pairwise(cuts):
        fours = list(zip(threes[start:stop], threes[start + 1 : stop], strict=False))
        shares.append(len(set(fours)) / len(fours))
    return min(shares) >= min_ratio or is_exempt(value)


def register() -> None:
    """Make Great Expectations know all that the suite for prompt and completion asks of rows of prose."""
    of_one_value("expect_column_values_to_be_readable_text", lambda value: not text.unreadable(value), {})
    of_one_value(
        "expect_column_values_to_have_prose_length",
        lambda value, min_value, max_value, kind: has_length(value, min_value, max_value),
        {"min_value": 10, "max_value": 2000, "kind": "text"},
    )
    of_one_value(
        "expect_column_values_to_have_distinct_word_ratio",
        lambda value, min_ratio, kind: is_varied(value, min_ratio),
        {"min_ratio": 0.7, "kind": "text"},
    )
    of_one_value(
        "expect_column_values_to_leak_no_secrets", lambda value: next(privacy.secrets(value), None) is None, {}
    )
    of_one_value(
        "expect_column_values_to_leak_no_personal_data",
        lambda value: next(privacy.personal_data(value), None) is None,
        {},
    )
