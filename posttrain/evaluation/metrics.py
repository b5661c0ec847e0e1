"""The metrics, one table: how a row is counted, and how counts become a score.

To add a metric, add one entry to `METRICS`: the columns it counts in each row, the task kinds it is for, and the
function from the columns' sums to its value. Measuring, intervals, gates, decisions and reports read this table.
Pure; knows nothing of models.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from posttrain.evaluation import parse
from posttrain.evaluation.statistics import Floats, Total

KINDS = ("intent_slots", "extraction", "text")
JSON_KINDS = ("intent_slots", "extraction")


@dataclass(frozen=True)
class Answer:
    """One row's expected completion and the model's output, parsed once for all metrics."""

    kind: str
    expected: str
    output: str

    @cached_property
    def wanted(self) -> parse.Found:
        return parse.find(self.expected)

    @cached_property
    def found(self) -> parse.Found:
        return parse.find(self.output)


@dataclass(frozen=True)
class Metric:
    """A metric: `count` gives a row's `columns`, `total` turns their sums and the number of rows into the value."""

    name: str
    meaning: str
    kinds: tuple[str, ...]
    columns: tuple[str, ...]
    total: Total
    count: Callable[[Answer], tuple[float, ...]] | None = None
    higher_is_better: bool = True
    per_row: bool = True
    """Whether the value makes sense for a single row, and so gets a column of its own."""


# --- from sums to values -----------------------------------------------------------------------------------


def mean(sums: Floats, rows: int) -> Floats:
    """Share or mean over rows; sums are (..., 1)."""
    return np.asarray(sums[..., 0] / rows)


def micro_f1(sums: Floats, rows: int) -> Floats:
    """2 TP / (2 TP + FP + FN); sums are (..., 3). Nothing to find and nothing found is 1."""
    hits, others = 2 * sums[..., 0], sums[..., 1] + sums[..., 2]
    return np.where(hits + others == 0, 1.0, hits / np.maximum(hits + others, 1e-12))


def majority(sums: Floats, rows: int) -> Floats:
    """Share of all rows that belong to the commonest class; sums are (..., classes)."""
    return np.asarray(sums.max(axis=-1) / rows)


def exponential_mean(sums: Floats, rows: int) -> Floats:
    """exp(sum of negative log-likelihoods / tokens); sums are (..., 2)."""
    return np.exp(sums[..., 0] / sums[..., 1])


# --- from a row to counts ----------------------------------------------------------------------------------


def has_shape(kind: str, value: Any) -> bool:
    """True when a parsed output is built as the task wants it.

    intent_slots: `{"intent": text, "slots": {name: text or list of texts}}` and nothing else; extraction: any
    object or array.
    """
    if kind != "intent_slots":
        return isinstance(value, dict | list)
    if not isinstance(value, dict) or set(value) != {"intent", "slots"}:
        return False
    if not isinstance(value["intent"], str) or not isinstance(value["slots"], dict):
        return False
    texts = [item for slot in value["slots"].values() for item in (slot if isinstance(slot, list) else [slot])]
    return all(isinstance(text, str) for text in texts)


def fields(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, value) of every leaf; a list's items share the path `name[]`, so their order does not count.

    Empty text, null and empty containers say nothing and yield nothing.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from fields(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from fields(item, f"{path}[]")
    elif value is not None and (text := _leaf(value)):
        yield path, text


def _leaf(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value)


def slots(value: Any) -> Counter[tuple[str, str]]:
    """(slot name, value) pairs of an intent_slots answer, a slot with several values counting each of them."""
    found = value.get("slots") if isinstance(value, dict) else None
    if not isinstance(found, dict):
        return Counter()
    items = [(name, item) for name, slot in found.items() for item in (slot if isinstance(slot, list) else [slot])]
    return Counter((str(name), _leaf(item)) for name, item in items if item is not None)


def overlap(wanted: Counter[Any], found: Counter[Any]) -> tuple[float, float, float]:
    """True positives, false positives, false negatives of one bag against another."""
    hits = (wanted & found).total()
    return float(hits), float(found.total() - hits), float(wanted.total() - hits)


def _intent_is_right(answer: Answer) -> tuple[float]:
    wanted, found = answer.wanted.value, answer.found.value
    if not isinstance(wanted, dict) or not isinstance(found, dict) or "intent" not in wanted:
        return (0.0,)
    return (float(found.get("intent") == wanted["intent"]),)


def _is_exact(answer: Answer) -> tuple[float]:
    if answer.kind not in JSON_KINDS or answer.wanted.value is None:
        return (float(answer.output.strip() == answer.expected.strip()),)
    return (float(_canonical(answer.found.value) == _canonical(answer.wanted.value)),)


def _canonical(value: Any) -> str:
    """Text that is equal exactly when the JSON is: 1 is not true, and the order of keys does not count."""
    return json.dumps(value, sort_keys=True)


def _is_valid(answer: Answer) -> tuple[float]:
    readable = answer.found.wrapper in ("bare", "fenced")
    return (float(readable and has_shape(answer.kind, answer.found.value)),)


def _wrapper(answer: Answer) -> tuple[float, ...]:
    return tuple(float(answer.found.wrapper == name) for name in ("bare", "fenced", "prose"))


def _token_f1(answer: Answer) -> tuple[float]:
    bags = [Counter(re.findall(r"\w+", text.lower())) for text in (answer.expected, answer.output)]
    return (float(micro_f1(np.array(overlap(*bags)), 1)),)


# --- the table ---------------------------------------------------------------------------------------------

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="intent_accuracy",
            meaning="share of rows whose intent is right",
            kinds=("intent_slots",),
            columns=("intent_accuracy",),
            count=_intent_is_right,
            total=mean,
        ),
        Metric(
            name="slot_f1",
            meaning="CoNLL-style micro F1 over (slot, value) pairs; an unreadable output misses all of its slots",
            kinds=("intent_slots",),
            columns=("slot_true_positives", "slot_false_positives", "slot_false_negatives"),
            count=lambda answer: overlap(slots(answer.wanted.value), slots(answer.found.value)),
            total=micro_f1,
        ),
        Metric(
            name="field_f1",
            meaning="micro F1 over (path, value) pairs of nested JSON, whatever the order of lists",
            kinds=("extraction",),
            columns=("field_true_positives", "field_false_positives", "field_false_negatives"),
            count=lambda answer: overlap(Counter(fields(answer.wanted.value)), Counter(fields(answer.found.value))),
            total=micro_f1,
        ),
        Metric(
            name="exact_match",
            meaning="share of rows that are right in full: equal as JSON, or as text",
            kinds=KINDS,
            columns=("exact_match",),
            count=_is_exact,
            total=mean,
        ),
        Metric(
            name="token_f1",
            meaning="mean over rows of the F1 of lower-cased words",
            kinds=("text",),
            columns=("token_f1",),
            count=_token_f1,
            total=mean,
        ),
        Metric(
            name="valid_json",
            meaning="share of outputs that are JSON of the task's shape, bare or in one fenced block",
            kinds=JSON_KINDS,
            columns=("valid_json",),
            count=_is_valid,
            total=mean,
        ),
        Metric(
            name="wrapper_consistency",
            meaning="share of outputs in the commonest wrapper: bare JSON, fenced, or with prose around it",
            kinds=JSON_KINDS,
            columns=("wrapper_bare", "wrapper_fenced", "wrapper_prose"),
            count=_wrapper,
            total=majority,
            per_row=False,
        ),
        Metric(
            name="perplexity",
            meaning="on held-out general text, completion tokens given their prompt: it rises as the model forgets",
            kinds=(),
            columns=("negative_log_likelihood", "tokens"),
            total=exponential_mean,
            higher_is_better=False,
        ),
    )
}

MAIN = {"intent_slots": "slot_f1", "extraction": "field_f1", "text": "token_f1"}
"""The metric that says whether a task of this kind is done; the others say what is missing."""


def names(kind: str) -> tuple[str, ...]:
    """The metrics of a task kind, in the order of the table."""
    return tuple(name for name, metric in METRICS.items() if kind in metric.kinds)


def row_values(kind: str, expected: str, output: str) -> dict[str, float]:
    """Every column that the kind's metrics count in one row, and each per-row metric's value under its name."""
    answer = Answer(kind, expected, output)
    values: dict[str, float] = {}
    for metric in (METRICS[name] for name in names(kind)):
        if metric.count is None:
            continue
        counts = metric.count(answer)
        values |= dict(zip(metric.columns, counts, strict=True))
        if metric.per_row:
            values[metric.name] = float(metric.total(np.array(counts), 1))
    return values


def verify(kind: str, expected: str, output: str) -> float:
    """How good one output is, 0 to 1, for ranking samples of the same prompt without a reward model.

    0: not valid JSON. Otherwise 0.2 for that, 0.2 more for the right intent (where there is one), and the rest in
    proportion to the main metric. Text is worth its token F1.
    """
    values = row_values(kind, expected, output)
    if kind not in JSON_KINDS:
        return values[MAIN[kind]]
    if not values["valid_json"]:
        return 0.0
    label = 0.2 * values.get("intent_accuracy", 1.0)
    return 0.2 + label + 0.6 * values[MAIN[kind]]
