"""Conversations: lists of turns as people write them, and their parts as plain text.

A turn is (role, text), with the roles of chat templates: system, user, assistant, tool. Knows no format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

Turn = tuple[str, str]

_ROLES = {
    "human": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "model": "assistant", "function_call": "assistant", "observation": "tool", "function": "tool",
    "developer": "system",
}  # fmt: skip
_SPOKEN = re.compile(r"\n\n(Human|Assistant):")


class ShapeError(ValueError):
    """One row does not have its format's shape; the text says how."""


def text(value: Any) -> str:
    """Text as text, nothing as "", bytes as UTF-8, anything else as JSON."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, default=str)


def is_turns(value: Any) -> bool:
    """Whether the value is a list of turns, perhaps written as JSON text."""
    listed = structure(value)
    return (
        isinstance(listed, list)
        and bool(listed)
        and all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in listed)
    )


def has_answer(value: Any) -> bool:
    """Whether the value is a list of turns in which the assistant speaks."""
    said = structure(value) if is_turns(value) else []
    roles = [turn.get("role") or turn.get("from") for turn in said]
    return any(_ROLES.get(role, role) == "assistant" for role in roles if isinstance(role, str))


def structure(value: Any) -> Any:
    """The list or object that a text holds as JSON, for CSV has only texts; any other value as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return orjson.loads(value)
        except ValueError:
            return value
    return value


def turns(value: Any) -> list[Turn]:
    """Turns written as {role, content} or {from, value}. Raises `ShapeError`."""
    listed = structure(value)
    if not isinstance(listed, list) or not listed:
        raise ShapeError(f"found {shown(value)} for the turns, expected a list of {{role, content}}")
    return [_turn(each, number) for number, each in enumerate(listed, 1)]


def _turn(value: Any, number: int) -> Turn:
    if type(value) is not dict:
        raise ShapeError(f"turn {number} is {shown(value)}, expected {{role, content}}")
    role = value.get("role") or value.get("from")
    if type(role) is not str:
        raise ShapeError(f"role of turn {number} is {shown(role)}, expected text such as user")
    content = value["content"] if "content" in value else value.get("value")
    if type(content) is str:
        return _ROLES.get(role, role), content
    if isinstance(content, list):
        parts = [
            part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, dict | str)
        ]
        return _ROLES.get(role, role), "".join(map(text, parts))
    return _ROLES.get(role, role), text(content if content is not None else value.get("tool_calls"))


def without_system(said: Sequence[Turn], system: str = "") -> tuple[str, list[Turn]]:
    """The system messages, `system` before them, line by line; and the other turns."""
    found = [words for role, words in said if role == "system" and words]
    return "\n".join([system, *found] if system else found), [turn for turn in said if turn[0] != "system"]


def answered(said: Sequence[Turn]) -> tuple[list[Turn], str]:
    """The turns before the last assistant turn, and that turn. Raises `ShapeError` when it answers nothing."""
    last = len(said) - 1
    while last > 0 and said[last][0] != "assistant":
        last -= 1
    if last <= 0:
        raise ShapeError("no assistant turn that answers another turn")
    return list(said[:last]), said[last][1]


def flat(said: Sequence[Turn]) -> str:
    """Turns as one prompt: a single one as its text, several each under its role."""
    return said[0][1] if len(said) == 1 else "\n\n".join(f"{role.capitalize()}: {words}" for role, words in said)


def as_json(system: str, said: Iterable[Turn]) -> str:
    """The conversation as a JSON list of {role, content}, the system message first."""
    whole = [("system", system), *said] if system else list(said)
    return orjson.dumps([{"role": role, "content": words} for role, words in whole]).decode()


def transcript(value: str) -> list[Turn]:
    """The turns of a text in which each begins with Human: or Assistant: after a blank line. Raises `ShapeError`."""
    parts = _SPOKEN.split(value if value.startswith("\n\n") else f"\n\n{value}")
    if len(parts) < 3 or parts[0].strip():
        raise ShapeError("found a text without turns, expected Human: … Assistant: …; or name the column of the prompt")
    roles = (_ROLES.get(who.lower(), who.lower()) for who in parts[1::2])
    return [(role, text(words).strip()) for role, words in zip(roles, parts[2::2], strict=True)]


def shown(value: Any) -> str:
    """A value in a few words, for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"text {value[:40]!r}"
    if isinstance(value, dict | list):
        return f"JSON {type(value).__name__}"
    return f"{json.dumps(value, default=str)[:40]}"
