"""Run a suite on rows and keep what it says: one report a check, and Data Docs for all of them.

Knows nothing of specs, severities or quarantine; says only which row breaks which expectation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expectations import FOLDER, docs, register
from posttrain.errors import DataError

_SITE = {
    "class_name": "SiteBuilder",
    "show_how_to_buttons": False,
    "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
}


@dataclass(frozen=True)
class Broken:
    """An expectation that rows break: the rule it stands for, its own severity, the ids of the rows.

    `ids` is empty when the expectation is about the table as a whole; `observed` says what was found.
    """

    rule: str
    expectation: str
    severity: str
    ids: tuple[str, ...]
    observed: str
    description: str = ""

    def describe(self) -> str:
        """The expectation and what was found, in words."""
        found = f"{len(self.ids):,} rows" if self.ids else f"found {self.observed}"
        return f"{self.rule}: {found}. {self.description or self.expectation}"


def suite_path(name: str, root: Path) -> Path:
    """The file of a suite: a name in this folder, or a path from `root`. Raises `DataError` when there is none."""
    path = root / name if name.endswith(".json") else FOLDER / f"{name}.json"
    if path.is_file():
        return path
    known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json")))
    raise DataError(
        f"validate.suite: found {name!r}, which is no file; use one of {known}, or the path of a .json file"
    )


def read_suite(path: Path) -> dict[str, Any]:
    """A suite's JSON. Raises `DataError` when it is none, naming the line."""
    try:
        suite = json.loads(path.read_text(encoding="utf-8"))
        kinds = [item["type"] for item in suite["expectations"]]
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: invalid JSON ({error.msg}); mend the suite") from error
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise DataError(
            f'{path}: expected {{"name": …, "expectations": [{{"type": …, "kwargs": …}}]}}; mend the suite'
        ) from error
    return {"name": path.stem, **suite} if kinds else suite


class Checkpoint:
    """One suite, an ephemeral Great Expectations context and its Data Docs in a folder."""

    def __init__(self, suite: Mapping[str, Any], folder: Path) -> None:
        """Raises `DataError` when the suite uses an expectation or an argument that does not exist."""
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
        # One by one: given all at once, Great Expectations leaves out a wrong one and only logs it.
        self.suite = gx.ExpectationSuite(name=str(suite["name"]), meta=suite.get("meta"))
        for item in suite["expectations"]:
            _add(self.suite, item)
        self.suite = self.context.suites.add(self.suite)
        self.source = self.context.data_sources.add_pandas("rows")

    def run(self, name: str, rows: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> list[Broken]:
        """Check rows (each with `id` and `source`); `name` names the page in Data Docs.

        Raises `DataError` when an expectation cannot be checked, as when its column does not exist.
        """
        import great_expectations as gx
        import pandas as pd
        from great_expectations.core.run_identifier import RunIdentifier

        batch = self.source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        check = self.context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=self.suite)
        )
        outcome = self.context.checkpoints.add(
            gx.Checkpoint(
                name=name,
                validation_definitions=[check],
                result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["id", "source"]},
            )
        ).run(
            batch_parameters={"dataframe": pd.DataFrame(list(rows))},
            expectation_parameters=dict(parameters),
            run_id=RunIdentifier(run_name=name),
        )
        results = [result for run in outcome.run_results.values() for result in run.results]
        broken = [_broken(result) for result in results if not result.success]
        self.lines.append(docs.Line(name, len(rows), [item.describe() for item in broken]))
        return broken

    def build_docs(self) -> Path:
        """Write Data Docs for every run so far; the path of their index page."""
        self.context.build_data_docs()
        return docs.finish(self.folder, self.suite.name, self.lines)


def _add(suite: Any, item: Mapping[str, Any]) -> None:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        suite.add_expectation_configuration(ExpectationConfiguration(**item))
    except Exception as error:  # GX raises a dozen kinds, each about the item's content
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"suite {suite.name}: {item.get('type')}: {reason}; mend the suite") from error


def _broken(result: Any) -> Broken:
    config = result.expectation_config
    _raise_exception(config.type, result.exception_info)
    indexes = result.result.get("unexpected_index_list") or ()
    return Broken(
        rule=str((config.meta or {}).get("rule") or config.type),
        expectation=config.type,
        severity=str(getattr(config.severity, "value", config.severity) or "critical"),
        ids=tuple(str(index["id"]) for index in indexes),
        observed=str(result.result.get("observed_value", "")),
        description=str(config.description or ""),
    )


def _raise_exception(expectation: str, info: Mapping[str, Any]) -> None:
    """Great Expectations reports exceptions as results, flat or one for each metric: make them an error again."""
    for part in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if part.get("raised_exception"):
            text = " ".join(str(part.get("exception_message")).split())[:300]
            raise DataError(f"suite: {expectation} cannot be checked ({text}); mend the suite")
