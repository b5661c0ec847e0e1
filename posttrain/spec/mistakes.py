"""From pydantic's findings to lines that say what was found, what was expected and how to put it right.

Reads what is expected from the JSON Schema, so a new field needs nothing here.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from posttrain.spec.document import Place

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def dotted(place: Place) -> str:
    """`("data", "train", 0, "path")` as `data.train[0].path`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def describe(error: ErrorDetails, schema: Mapping[str, Any]) -> tuple[Place, str]:
    """Where the finding is and one line about it. `schema` is the JSON Schema of the whole spec."""
    place = tuple(part for part in error["loc"] if part != "[key]")
    kind = error["type"]
    if kind == "extra_forbidden":
        return place, _unknown(place, schema)
    if kind == "value_error":
        return place, str(error["ctx"]["error"]) if "ctx" in error else error["msg"]
    fragment = _fragment(schema, place)
    if kind == "missing":
        return place, f"missing; add it: {fragment.get('description', 'it has no default')}"
    wanted = f"found {_found(error['input'])}, expected {_expected(fragment, schema)}"
    return place, f"{wanted}; {_cure(error['input'], fragment, schema)}"


def _unknown(place: Place, schema: Mapping[str, Any]) -> str:
    key, parent = str(place[-1]), place[:-1]
    here = [name for choice in _choices(_fragment(schema, parent), schema) for name in choice.get("properties", {})]
    if near := get_close_matches(_folded(key), here, n=1):
        return f"unknown key; did you mean {dotted((*parent, near[0]))}?"
    elsewhere = [known for known in _all_keys(schema) if known[-1] == _folded(key)]
    if not elsewhere:
        names = get_close_matches(_folded(key), {str(known[-1]) for known in _all_keys(schema)}, n=1, cutoff=0.8)
        elsewhere = [known for known in _all_keys(schema) if known[-1] in names]
    if elsewhere:
        return f"unknown key; did you mean {' or '.join(dotted(known) for known in elsewhere[:3])}?"
    return f"unknown key; remove it, or use one of {', '.join(here)}"


def _folded(key: str) -> str:
    return key.strip().lower().replace("-", "_").replace(" ", "_")


def _all_keys(schema: Mapping[str, Any]) -> Iterator[Place]:
    for name in schema["properties"]:
        yield (name,)
        yield from ((name, inner) for inner in _fragment(schema, (name,)).get("properties", {}))


def _fragment(schema: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The part of the schema that describes the value at `place`; empty when the schema does not know it."""
    node: dict[str, Any] = dict(schema)
    for part in place:
        for choice in _choices(node, schema):
            if isinstance(part, int) and "items" in choice:
                node = choice["items"]
                break
            if part in choice.get("properties", {}):
                node = choice["properties"][part]
                break
            if isinstance(choice.get("additionalProperties"), dict):
                node = choice["additionalProperties"]
                break
        else:
            return {}
    return _resolved(node, schema)


def _choices(node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The node itself, or each member of its `anyOf`, references followed."""
    resolved = _resolved(node, schema)
    inner = [choice for member in resolved.get("anyOf", []) for choice in _choices(member, schema)]
    return inner or [resolved]


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return dict(node)
    target = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


_KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _expected(fragment: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    choices = [choice for choice in _choices(fragment, schema) if choice.get("type") != "null"]
    return " or ".join(dict.fromkeys(_one_expected(choice) for choice in choices))


def _one_expected(choice: Mapping[str, Any]) -> str:
    if "enum" in choice or "const" in choice:
        values = choice.get("enum", [choice.get("const")])
        return "one of " + ", ".join(map(str, values)) if len(values) > 1 else f"{values[0]}"
    kind = str(choice.get("type", "another value"))
    if kind == "object":
        keys = list(choice.get("properties", {}))
        return f"keys below it ({', '.join(keys[:4])}{', …' if len(keys) > 4 else ''})" if keys else "key: value pairs"
    if kind == "array":
        return "a list with at least one entry" if choice.get("minItems") else "a list"
    bounds = [f"{words} {choice[name]:g}" for name, words in _BOUNDS.items() if name in choice]
    if "pattern" in choice:
        bounds.append(f"such as {choice['examples'][0]}" if "examples" in choice else f"matching {choice['pattern']}")
    if "minLength" in choice:
        bounds.append("that is not empty")
    if "maxLength" in choice:
        bounds.append(f"of at most {choice['maxLength']} characters")
    return " ".join([_KINDS.get(kind, kind), " and ".join(bounds)]).strip()


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"keys ({', '.join(map(str, list(value)[:4]))})" if value else "no keys"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{_SHORT.repr(value)} (text)" if isinstance(value, str) else _SHORT.repr(value)


def _cure(value: Any, fragment: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    enum = [str(item) for choice in _choices(fragment, schema) for item in choice.get("enum", [])]
    if enum and isinstance(value, str) and (near := get_close_matches(_folded(value), enum, n=1)):
        return f"did you mean {near[0]}?"
    if value is None:
        return "fill it in or remove the line"
    if isinstance(value, int | float) and "text" in _expected(fragment, schema):
        return f'put it in quotes: "{_found(value)}"'
    if "default" not in fragment:
        return "change it" if fragment.get("type") != "object" else "write its keys on the lines below, indented"
    if fragment["default"] is None:
        return "change it, or remove the line to have it chosen for you"
    return f"change it, or remove the line for the default, {json.dumps(fragment['default'])}"
