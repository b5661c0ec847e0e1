"""What a completion must look like for the task's kind, and what it says.

Knows the kinds of `task.kind`: intent_slots is `{"intent": str, "slots": {name: str | [str, …]}}`, extraction is
any JSON object or array, classification is one short text, text and verifiable are prose. The row rules and the
Great Expectations both ask here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

JSON_KINDS = ("intent_slots", "extraction")
LABEL_KINDS = (*JSON_KINDS, "classification")
"""Kinds whose completions are labels, so that rules on prose have nothing to say of them."""

_spelled = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes a new encoder each time


def problem(completion: str, kind: str) -> str:
    """Why the completion is no label of this kind, in words; "" when it is one."""
    if kind not in JSON_KINDS:
        return ""
    try:
        label = json.loads(completion)
    except ValueError as error:
        return f"not JSON ({error})"
    except RecursionError:
        return "JSON nested too deep"
    if kind == "extraction":
        return "" if isinstance(label, dict | list) else f"JSON {type(label).__name__}, not an object or array"
    if not isinstance(label, dict) or set(label) != {"intent", "slots"}:
        found = ", ".join(map(str, label)) if isinstance(label, dict) else type(label).__name__
        return f"keys {found or 'none'}, not intent and slots"
    if not isinstance(label["intent"], str) or not label["intent"].strip():
        return f"intent is {json.dumps(label['intent'])}, not a name"
    if not isinstance(label["slots"], dict):
        return f"slots is {type(label['slots']).__name__}, not an object"
    wrong = [name for name, value in label["slots"].items() if not _is_value(value)]
    return f"slot {wrong[0]} is neither text nor a list of texts" if wrong else ""


def _is_value(value: Any) -> bool:
    texts = value if isinstance(value, list) else [value]
    return bool(texts) and all(isinstance(text, str) and text.strip() for text in texts)


@lru_cache(maxsize=65_536)
def intent(completion: str) -> str:
    """The intent of an intent_slots completion; "" when it has none."""
    try:
        label = json.loads(completion)
    except (ValueError, RecursionError):
        return ""
    return str(label.get("intent", "")) if isinstance(label, dict) else ""


def slots(completion: str) -> Iterator[tuple[str, str]]:
    """Every (slot name, value) of a valid intent_slots completion."""
    for name, value in json.loads(completion)["slots"].items():
        for text in value if isinstance(value, list) else [value]:
            yield name, text


def is_json(completion: str) -> bool:
    """Whether the whole completion is a JSON object or array."""
    if completion.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(completion)
    except (ValueError, RecursionError):  # nested too deep to be a label
        return False
    return True


def mapped(completion: str, change: Any) -> str:
    """The JSON completion with `change` applied to every text value (not to keys); the spelling of JSON is ours.

    Raises `ValueError` when it is not JSON, `RecursionError` when it is nested too deep.
    """
    return _spelled(_map(json.loads(completion), change))


def _map(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map(item, change) for item in value]
    if isinstance(value, dict):
        return {name: _map(item, change) for name, item in value.items()}
    return value
