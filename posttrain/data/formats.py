"""Shapes of rows that people really have, and how each becomes prompt and completion.

| format | columns | prompt; completion |
| --- | --- | --- |
| prompt_completion | prompt, completion | as they are; other JSON values as JSON, message lists flattened |
| messages | messages: [{role, content}] | the turns before the last assistant turn; that turn |
| sharegpt | conversations: [{from, value}] | the same |
| alpaca | instruction, input, output | instruction and input, a line break between; output |
| intent_slots | intent, data: [{text, entity}] | the joined texts; `{"intent": …, "slots": {entity: text}}` |

To add one: a line in `COLUMNS`, a function in `_CONVERTERS`. Knows nothing of files.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Columns = Mapping[str, Any]

# Format -> the columns it must have: the one that `prompt` renames first, then the one that `completion` renames.
COLUMNS: dict[str, tuple[str, ...]] = {
    "intent_slots": ("data", "intent"),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
}

_SYNONYMS = (
    ("prompt", "question", "input", "instruction", "query", "text", "utterance", "source", "user"),
    ("completion", "answer", "output", "response", "target", "label", "assistant", "chosen"),
)
_ROLES = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool", "function": "tool"}
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class ShapeError(ValueError):
    """One row does not have its format's shape; the text says how."""


@dataclass(frozen=True)
class Converted:
    """A row's texts, before it gets its id."""

    prompt: str
    completion: str
    system: str = ""


def detect(names: Iterable[str]) -> str | None:
    """The first format all of whose columns are there; None when none fits."""
    present = set(names)
    return next((name for name, needed in COLUMNS.items() if present.issuperset(needed)), None)


def columns(format: str, prompt: str | None, completion: str | None) -> tuple[str, ...]:
    """The columns that rows of this format must have, as the user renamed them."""
    own = COLUMNS[format]
    return tuple(given or default for given, default in zip((prompt, completion), own, strict=False))


def convert(row: Columns, format: str, names: tuple[str, ...]) -> Converted:
    """A row of this format, whose columns are `names`, as prompt and completion. Raises `ShapeError`."""
    return _CONVERTERS[format](row, *names)


def suggestion(missing: str, names: Iterable[str]) -> str:
    """The present column that `missing` most likely means; "" when none comes near."""
    present = list(names)
    for words in _SYNONYMS:
        if missing in words:
            for word in words:
                if word in present:
                    return word
    near = difflib.get_close_matches(missing, present, 1, 0.5)
    return near[0] if near else ""


def _text(value: Any) -> str:
    """Text as text, nothing as "", anything else as JSON. Lone surrogates, which no file can hold, as U+FFFD."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return _SURROGATE.sub("\ufffd", text) if _SURROGATE.search(text) else text


def _prompt_completion(row: Columns, prompt: str, completion: str) -> Converted:
    asked, answered = row.get(prompt), row.get(completion)
    if _is_turns(asked):
        answer = answered if _is_turns(answered) else [{"role": "assistant", "content": _text(answered)}]
        return _conversation([*(asked or ()), *(answer or ())], "role", "content", _text(row.get("system")))
    return Converted(_text(asked), _text(answered), _text(row.get("system")))


def _is_turns(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) and "role" in turn for turn in value)


def _alpaca(row: Columns, instruction: str, output: str) -> Converted:
    parts = [_text(row.get(name)) for name in (instruction, "input")]
    return Converted("\n".join(part for part in parts if part), _text(row.get(output)), _text(row.get("system")))


def _messages(row: Columns, messages: str) -> Converted:
    return _conversation(row.get(messages), "role", "content", _text(row.get("system")))


def _sharegpt(row: Columns, conversations: str) -> Converted:
    return _conversation(row.get(conversations), "from", "value", _text(row.get("system")))


def _conversation(turns: Any, role: str, content: str, system: str) -> Converted:
    """The last assistant turn is the completion; several turns before it are flattened into one prompt."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) and role in turn for turn in turns):
        raise ShapeError(f"turns are not a list of {{{role}, {content}}}")
    said = [(_ROLES.get(str(turn[role]), str(turn[role])), _content(turn.get(content))) for turn in turns]
    system = "\n".join([part for part in (system, *(text for who, text in said if who == "system")) if part])
    said = [(who, text) for who, text in said if who != "system"]
    last = max((index for index, (who, _) in enumerate(said) if who == "assistant"), default=0)
    if last == 0:
        raise ShapeError("no assistant turn that answers another turn")
    before = said[:last]
    flat = "\n\n".join(f"{who.capitalize()}: {text}" for who, text in before)
    return Converted(before[0][1] if len(before) == 1 else flat, said[last][1], system)


def _content(value: Any) -> str:
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return _text(value)


def _intent_slots(row: Columns, data: str, intent: str) -> Converted:
    parts = row.get(data)
    if not isinstance(parts, list) or not all(isinstance(part, dict) and "text" in part for part in parts):
        raise ShapeError(f"{data} is not a list of {{text, entity}}")
    found: dict[str, list[str]] = {}
    for part in parts:
        if part.get("entity"):
            found.setdefault(_text(part["entity"]), []).append(_text(part["text"]))
    slots = {name: values[0] if len(values) == 1 else values for name, values in found.items()}
    label = {"intent": _text(row.get(intent)), "slots": slots}
    return Converted("".join(_text(part["text"]) for part in parts), json.dumps(label, ensure_ascii=False))


_CONVERTERS: dict[str, Callable[..., Converted]] = {
    "intent_slots": _intent_slots,
    "messages": _messages,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
}
