"""Run expectations on rows and keep what Great Expectations says: one report a check, and Data Docs for all of them.

Knows nothing of specs, severities or quarantine; says only which row breaks which expectation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expectations import docs, register
from posttrain.data.rules.builtin import Between, numbers
from posttrain.data.rules.expectation import Expectation
from posttrain.data.rules.registry import TWINS, nearest, rule_for
from posttrain.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

INDEX = ("id", "source")
_RESULT = {"result_format": "COMPLETE", "unexpected_index_column_names": list(INDEX)}
_SITE = {
    "class_name": "SiteBuilder",
    "show_how_to_buttons": False,
    "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
}
# They look at single rows by the shape of their results, and yet at neighbors or at the whole column.
_NOT_ROW_WISE = (
    "expect_column_values_to_be_unique",
    "expect_compound_columns_to_be_unique",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_decreasing",
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_not_be_outliers",
)


@dataclass(frozen=True)
class Broken:
    """An expectation that does not hold: its place among those that were run, and the ids of the rows that break it.

    `ids` is empty when the expectation is about the table as a whole; `observed` says what was found.
    """

    place: int
    expectation: Expectation
    ids: tuple[str, ...]
    observed: str

    def describe(self) -> str:
        """The expectation and what was found, in words."""
        found = f"{len(self.ids):,} rows" if self.ids else f"found {self.observed}"
        return f"{self.expectation.rule}: {found}. {self.expectation.description or self.expectation.type}"


class Checkpoint:
    """An ephemeral Great Expectations context, and its Data Docs in a folder."""

    def __init__(self, folder: Path) -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        register()
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        self.folder = folder
        self.lines: list[docs.Line] = []
        self.context = gx.get_context(mode="ephemeral")
        self.context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        self.context.delete_data_docs_site("local_site")
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}
        site: Any = {**_SITE, "store_backend": store}
        self.context.add_data_docs_site("posttrain", site)
        self.source = self.context.data_sources.add_pandas("rows")

    def suite(self, name: str, expectations: Sequence[Expectation]) -> Any:
        """A suite of Great Expectations. Raises `DataError` for an expectation or an argument that does not exist."""
        import great_expectations as gx

        suite = gx.ExpectationSuite(name=name)
        # One by one: given all at once, Great Expectations leaves out a wrong one and only logs it.
        for place, expectation in enumerate(expectations):
            _add(suite, expectation, place)
        return suite

    def run(
        self, name: str, suite: Any, expectations: Sequence[Expectation], rows: pl.DataFrame, of: int = 0
    ) -> list[Broken]:
        """Check rows (with `id` and `source`) and leave a page in Data Docs; `name` names it.

        `of`: how many rows there are in all, if these are a sample. Raises `DataError` when an expectation cannot be
        checked, as when its column does not exist.
        """
        import great_expectations as gx
        from great_expectations.core.run_identifier import RunIdentifier

        if suite.id is None:
            suite = self.context.suites.add(suite)
        batch = self.source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        check = self.context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        outcome = self.context.checkpoints.add(
            gx.Checkpoint(name=name, validation_definitions=[check], result_format=dict(_RESULT))
        ).run(batch_parameters={"dataframe": frame(rows, expectations)}, run_id=RunIdentifier(run_name=name))
        broken = _all_broken([result for run in outcome.run_results.values() for result in run.results], expectations)
        self.lines.append(docs.Line(name, suite.name, rows.height, of, [item.describe() for item in broken]))
        return broken

    def judge(self, suite: Any, expectations: Sequence[Expectation], rows: pl.DataFrame) -> list[Broken]:
        """Check rows, and leave no page."""
        name = f"chunk {len(self.source.assets)}"
        batch = self.source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        found = batch.get_batch({"dataframe": frame(rows, expectations)}).validate(suite, result_format=dict(_RESULT))
        self.source.delete_asset(name)
        return _all_broken(found.results, expectations)

    def build_docs(self) -> Path:
        """Write Data Docs for every run so far; the path of their index page."""
        self.context.build_data_docs()
        return docs.finish(self.folder, self.lines)


def row_wise(expectation: Expectation) -> bool:
    """Whether an expectation looks at each row by itself, as Great Expectations has it."""
    from great_expectations.expectations import expectation as kinds
    from great_expectations.expectations.registry import get_expectation_impl

    maps = (kinds.ColumnMapExpectation, kinds.ColumnPairMapExpectation, kinds.MulticolumnMapExpectation)
    return expectation.type not in _NOT_ROW_WISE and issubclass(get_expectation_impl(expectation.type), maps)


def frame(rows: pl.DataFrame, expectations: Sequence[Expectation]) -> pd.DataFrame:
    """Rows for Great Expectations: Python's strings, so that patterns mean what they mean in Python.

    Columns whose numbers are compared come a second time, as numbers: null for "", infinite for what is no number.
    """
    import pandas as pd

    made = pd.DataFrame({name: pd.Series(rows[name].to_list(), dtype=object) for name in rows.columns})
    for expectation in expectations:
        twin = rule_for(expectation)
        if isinstance(twin, Between) and twin.column in rows.columns:
            read = numbers(rows[twin.column]).fill_nan(float("inf") if twin.min_value is None else float("-inf"))
            made[_as_number(twin)] = pd.Series(read.to_list(), dtype="float64")
    return made


def _as_number(twin: Between) -> str:
    return f"{twin.column} (number{', else infinite' if twin.min_value is None else ''})"


def _kwargs(expectation: Expectation) -> dict[str, Any]:
    kwargs = dict(expectation.kwargs)
    twin = rule_for(expectation)
    if isinstance(twin, Between):
        kwargs["column"] = _as_number(twin)
    if expectation.mostly < 1:
        kwargs["mostly"] = expectation.mostly
    if expectation.condition is not None:
        kwargs["row_condition"] = dict(expectation.condition)
    return kwargs


def _add(suite: Any, expectation: Expectation, place: int) -> None:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    known = {*TWINS, *list_registered_expectation_implementations()}
    if expectation.type not in known:
        raise DataError(f"{expectation.place}: no such expectation; {nearest(expectation.type, known)}")
    config = ExpectationConfiguration(
        type=expectation.type,
        kwargs=_kwargs(expectation),
        meta={"rule": expectation.rule, "severity": expectation.severity, "place": place},
        description=expectation.description or None,
    )
    try:
        # Not `add_expectation_configuration`, which takes a second expectation of a type on a column for the first.
        suite.add_expectation(config.to_domain_obj())
    except Exception as error:  # GX raises a dozen kinds, each about the item's content
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{expectation.place}: {reason}; mend the suite") from error


def _all_broken(results: Sequence[Any], expectations: Sequence[Expectation]) -> list[Broken]:
    found = [_broken(result, expectations) for result in results if not result.success]
    return sorted(found, key=lambda broken: broken.place)


def _broken(result: Any, expectations: Sequence[Expectation]) -> Broken:
    config = result.expectation_config
    _raise_exception(config.type, result.exception_info)
    place = int(config.meta["place"])
    indexes = result.result.get("unexpected_index_list") or ()
    ids = tuple(str(index["id"]) for index in indexes)
    return Broken(place, expectations[place], ids, str(result.result.get("observed_value", "")))


def _raise_exception(expectation: str, info: Mapping[str, Any]) -> None:
    """Great Expectations reports exceptions as results, flat or one for each metric: make them an error again."""
    for part in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if part.get("raised_exception"):
            text = " ".join(str(part.get("exception_message")).split())[:300]
            raise DataError(f"suite: {expectation} cannot be checked ({text}); mend the suite")
