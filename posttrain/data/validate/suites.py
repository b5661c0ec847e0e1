"""Which suite a split is held against, and what the spec has to say on it.

Knows nothing of rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expectations.suite import declared, outvoted, read_suite, suite_path
from posttrain.artifacts import digest, file_digest
from posttrain.data.formats import RowKind
from posttrain.data.rules.label import validator
from posttrain.data.rules.registry import nearest
from posttrain.data.validate.book import RuleBook
from posttrain.errors import DataError, SpecError
from posttrain.spec.sections.task import TaskSpec
from posttrain.spec.sections.validate import ValidateSpec

PARAMETERS = ("min_length", "max_length", "min_distinct_words", "languages")


@dataclass(frozen=True)
class SplitSuite:
    """A split's suite: its name, the digest of all that decides it, the task's kind as the split has it, the rules."""

    split: str
    row_kind: RowKind
    name: str
    digest: str
    kind: str
    book: RuleBook


def suite_of(split: str, row_kind: RowKind, task: TaskSpec, spec: ValidateSpec, root: Path) -> SplitSuite:
    """The suite that the spec names for a split, or that of its kind of row; paths start at `root`.

    Raises `DataError` for a suite that does not exist or that is not written as it should be.
    """
    chosen: Mapping[str, str] = (
        {str(key): name for key, name in spec.suite.items()} if isinstance(spec.suite, dict) else {split: spec.suite}
    )
    named = chosen.get(split, "auto")
    path = suite_path(row_kind if named == "auto" else named, root)
    suite = read_suite(path)
    kind = "text" if split.startswith("general") else task.kind
    schema = task_schema(task, root) if kind == task.kind else None
    parameters = {**spec.model_dump(include=set(PARAMETERS)), "kind": kind, "json_schema": schema}
    expectations = outvoted(declared(suite, parameters), spec.severity, spec.max_share)
    decides = digest([file_digest(path), schema])
    return SplitSuite(split, row_kind, str(suite["name"]), decides, kind, RuleBook.of(expectations))


def task_schema(task: TaskSpec, root: Path) -> dict[str, Any] | None:
    """The task's JSON Schema, read from its file if it is one. Raises `DataError` when it is none."""
    schema: Any = task.json_schema
    if isinstance(schema, str):
        try:
            schema = json.loads((root / schema).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"task.json_schema: {schema} cannot be read as JSON ({error}); name a .json file of the project"
            ) from error
    if schema is None:
        return None
    validator(json.dumps(schema, sort_keys=True))
    return dict(schema)


def check_names(suites: Sequence[SplitSuite], spec: ValidateSpec) -> None:
    """Raise `SpecError` for a severity or a share of a rule that no suite has."""
    known = {name for suite in suites for name in suite.book.names}
    for setting in ("severity", "max_share"):
        for name in getattr(spec, setting):
            if name not in known:
                raise SpecError(f"validate.{setting}.{name}: no such rule; {nearest(name, _rules(suites))}")


def _rules(suites: Sequence[SplitSuite]) -> list[str]:
    return sorted({name for suite in suites for name in suite.book.names if not name.startswith("expect_")})
