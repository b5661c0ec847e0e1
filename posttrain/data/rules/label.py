"""Twins of the expectations on labels: JSON completions of the task's kind (`posttrain.data.text.labels`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from posttrain.data import findings
from posttrain.data.rows import shorten
from posttrain.data.rules.registry import twin
from posttrain.data.text import labels
from posttrain.errors import DataError


def said(words: list[str], threshold: str) -> pl.DataFrame:
    """Findings about the rows of which something is said; "" says nothing."""
    found = [(row, shorten(text)) for row, text in enumerate(words) if text]
    return findings.findings([row for row, _ in found], [text for _, text in found], threshold)


@twin("expect_column_values_to_be_task_json")
@dataclass(frozen=True)
class TaskJson:
    """Completions are labels of the task's kind, and match its JSON Schema if it has one."""

    column: str
    kind: str = "intent_slots"
    json_schema: Mapping[str, Any] | None = None

    @property
    def idle(self) -> bool:
        """Whether it asks nothing of any row."""
        return self.kind not in labels.JSON_KINDS

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        problem = label_problem(self.kind, self.json_schema)
        words = [problem(text) for text in rows[self.column]] if problem else []
        return said(words, f"a label of kind {self.kind}")


def label_problem(kind: str, json_schema: Mapping[str, Any] | None) -> Callable[[str], str] | None:
    """What says, in words, why a completion is no label; None when every text is one. Raises: see `validator`."""
    if kind not in labels.JSON_KINDS:
        return None
    if json_schema is None:
        return lambda text: labels.problem(text, kind)
    by_schema = validator(json.dumps(json_schema, sort_keys=True))
    return lambda text: labels.problem(text, kind) or by_schema(json.loads(text))


@lru_cache(maxsize=8)
def validator(schema: str) -> Callable[[Any], str]:
    """What says, in words, where a value departs from a JSON Schema; "" when it does not.

    Nothing is fetched for a `$ref`. Raises `DataError` for what is no JSON Schema.
    """
    import jsonschema_rs

    try:
        made = jsonschema_rs.validator_for(json.loads(schema), retriever=_refuse)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        reason = shorten(str(error).split("\n", 1)[0])
        raise DataError(f"task.json_schema: no valid JSON Schema ({reason}); mend it") from error

    def problem(value: Any) -> str:
        if made.is_valid(value):
            return ""
        first = next(made.iter_errors(value))
        where = ".".join(map(str, first.instance_path))
        return f"{where}: {first.message}" if where else str(first.message)

    return problem


def _refuse(uri: str) -> Any:
    raise ValueError(f"$ref {uri} points outside the schema")


@twin("expect_column_pair_values_to_ground_slots")
@dataclass(frozen=True)
class GroundedSlots:
    """Slot values of a label (column B) stand in its prompt (column A); of tasks of kind intent_slots only."""

    column_A: str
    column_B: str
    kind: str = "intent_slots"

    @property
    def idle(self) -> bool:
        """Whether it asks nothing of any row."""
        return self.kind != "intent_slots"

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        pairs = () if self.idle else zip(rows[self.column_A], rows[self.column_B], strict=True)
        return said([not_in_prompt(*pair) for pair in pairs], "slot values that stand in the prompt")


def not_in_prompt(prompt: str, completion: str) -> str:
    """Which slot value of a label is not in the prompt, but for case and blanks; "" when all are, or it is no label."""
    try:
        found = list(labels.slots(completion))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    prompt = " ".join(prompt.casefold().split())
    for name, value in found:
        if " ".join(str(value).casefold().split()) not in prompt:
            return f"slot {name}: {value!r} is not in the prompt"
    return ""


@twin("expect_column_values_to_have_trimmed_slots")
@dataclass(frozen=True)
class TrimmedSlots:
    """Slot values have no blanks at their ends; curation trims them. Of tasks of kind intent_slots only."""

    column: str
    kind: str = "intent_slots"

    @property
    def idle(self) -> bool:
        """Whether it asks nothing of any row."""
        return self.kind != "intent_slots"

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `RowRule.find`."""
        words = [] if self.idle else [loose_slot(text) for text in rows[self.column]]
        return said(words, "trimmed values")


def loose_slot(completion: str) -> str:
    """Which slot of a label has blanks at its ends, in words; "" when none has, or it is no label."""
    if labels.problem(completion, "intent_slots"):
        return ""
    loose = [name for name, value in labels.slots(completion) if value != value.strip()]
    return f"slot {loose[0]} has blanks at its ends" if loose else ""
