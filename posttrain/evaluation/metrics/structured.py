"""Answers in JSON: are they valid, right, of one style. Counts rows; knows nothing of how counts are totalled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from posttrain.evaluation.metrics.metric import Answer, Cells
from posttrain.evaluation.statistics import Floats

JSON_KINDS = ("intent_slots", "extraction")
MOST_STRUCTURES = 64
"""Structures told apart in a model's answers, the commonest: a rarer one is never the commonest of a resample."""


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


# --- what is counted in a row ------------------------------------------------------------------------------


def intent_is_right(answer: Answer) -> Cells:
    """1 when the intent is the expected one."""
    wanted, found = answer.wanted.value, answer.found.value
    if not isinstance(wanted, dict) or not isinstance(found, dict) or "intent" not in wanted:
        return (0.0,)
    return (float(found.get("intent") == wanted["intent"]),)


def slots_found(answer: Answer) -> Cells:
    """Slots that are right, invented and missed."""
    return overlap(slots(answer.wanted.value), slots(answer.found.value))


def fields_found(answer: Answer) -> Cells:
    """Fields that are right, invented and missed."""
    return overlap(Counter(fields(answer.wanted.value)), Counter(fields(answer.found.value)))


def is_exact(answer: Answer) -> Cells:
    """1 when the output is the expected completion: equal as JSON, or as text."""
    if answer.kind not in JSON_KINDS or answer.wanted.value is None:
        return (float(answer.output.strip() == answer.expected.strip()),)
    return (float(_canonical(answer.found.value) == _canonical(answer.wanted.value)),)


def _canonical(value: Any) -> str:
    """Text that is equal exactly when the JSON is: 1 is not true, and the order of keys does not count."""
    return json.dumps(value, sort_keys=True)


def is_valid(answer: Answer) -> Cells:
    """1 for JSON of the task's shape, bare or in one fenced block."""
    readable = answer.found.wrapper in ("bare", "fenced")
    return (float(readable and has_shape(answer.kind, answer.found.value)),)


def matches_schema(answer: Answer) -> Cells:
    """1 for JSON, bare or in one fenced block, that the task's JSON Schema allows. Nothing is fetched for a `$ref`."""
    from posttrain.data.rules.label import validator

    if answer.found.wrapper not in ("bare", "fenced"):
        return (0.0,)
    return (float(not validator(answer.json_schema)(answer.found.value)),)


def wrapper(answer: Answer) -> Cells:
    """A 1 for the wrapper that the JSON came in."""
    return tuple(float(answer.found.wrapper == name) for name in ("bare", "fenced", "prose"))


# --- style -------------------------------------------------------------------------------------------------


def structure(answer: Answer) -> Cells:
    """How the answer is built: its keys and the kinds of their values; "" for an output without JSON."""
    return ("" if answer.found.value is None else built(answer.found.value),)


def built(value: Any) -> str:
    """Keys, in any order, and kinds of values; of a list the kinds of its items, each once.

    >>> built({"b": [1, 2.5], "a": None})
    '{a: null, b: [number]}'
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {built(value[name])}' for name in sorted(value))}}}"
    if isinstance(value, list):
        return f"[{', '.join(sorted({built(item) for item in value}))}]"
    if isinstance(value, bool):
        return "boolean"
    return {str: "text", int: "number", float: "number", type(None): "null"}[type(value)]


def by_structure(tables: Sequence[Sequence[Cells]]) -> list[Floats]:
    """A column for each structure that is common in one of the tables, and a 1 in the rows that have it."""
    common = {
        str(name): None
        for rows in tables
        for name, _ in Counter(row[0] for row in rows if row[0]).most_common(MOST_STRUCTURES)
    }
    names = np.array(list(common), dtype=object)
    if not len(names):
        return [np.zeros((len(rows), 1)) for rows in tables]
    return [(np.array([row[0] for row in rows], dtype=object)[:, None] == names).astype(np.float64) for rows in tables]
