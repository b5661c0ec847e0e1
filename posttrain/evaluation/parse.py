"""Find the JSON in a model's output, and what it was wrapped in, or its label, or its code. Knows nothing of scores."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

Wrapper = Literal["bare", "fenced", "prose", "none"]

_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)```", re.DOTALL)
_OPENED = re.compile(r"```[\w-]*[ \t]*\n")
_THINKING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_MOST_STARTS = 50
_NAMED = re.compile(
    r"^(?:the\s+)?(?:label|class|category|answer|标签|类别|分类|答案)\s*(?:is|是|为)?\s*[:：]\s*", re.IGNORECASE
)
_AROUND = " \t\"'`*.。!！,，;；“”‘’「」[]()（）"


@dataclass(frozen=True)
class Found:
    """The object or array in an output; `value` is None when there is none (`wrapper` "none")."""

    value: Any
    wrapper: Wrapper


def find(output: str) -> Found:
    """The output's JSON object or array: bare, in one fenced block, or with prose around it.

    Numbers, strings and `null` on their own are not answers; `NaN` and `Infinity` are not JSON. A reasoning
    model's leading `<think>` block is set aside.
    """
    text = _THINKING.sub("", output).strip()
    if (value := _decode(text)) is not None:
        return Found(value, "bare")
    if fence := _FENCE.search(text):
        value = _decode(fence[1].strip())
        if value is not None:
            return Found(value, "fenced" if fence[0] == text else "prose")
    for opening in "{[":
        if (value := _decode_inside(text, opening)) is not None:
            return Found(value, "prose")
    return Found(None, "none")


def label(output: str) -> str:
    """The label that an output is, folded: case, width, blanks, quotes and a full stop around it do not count.

    A label stands by itself on the first line, perhaps after "label:", or as `label` in a JSON object. A longer text
    is taken as it is, and so equals no label.

    >>> label('{"label": "Positive"}'), label("Label: positive.")
    ('positive', 'positive')
    """
    found = find(output).value
    if isinstance(found, dict) and isinstance(found.get("label"), str | int | float):
        value = found["label"]
        text = value if isinstance(value, str) else json.dumps(value)
    else:
        lines = _THINKING.sub("", output).strip().splitlines()
        text = _NAMED.sub("", lines[0].strip(_AROUND)) if lines else ""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_AROUND)


def code(output: str) -> str:
    """The code in an output: its first fenced block, to the end of the text if it is not closed; else all of it."""
    text = _THINKING.sub("", output)
    if fence := _FENCE.search(text):
        return fence[1]
    opened = _OPENED.search(text)
    return text[opened.end() :] if opened else text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _decode(text: str) -> Any:
    """The object or array that the whole text is, or None."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _decode_inside(text: str, opening: str) -> Any:
    """The first object (or array) that starts at one of the first openings, or None."""
    for match in list(re.finditer(re.escape(opening), text))[:_MOST_STARTS]:
        try:
            value = _DECODER.raw_decode(text, match.start())[0]
        except ValueError:
            continue
        except RecursionError:
            return None
        if value:
            return value
    return None
