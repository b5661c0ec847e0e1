"""What is asked, in every way that rows put it: a text with what stands beside it, turns, a history; and one answer.

Knows nothing of preferences and ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.data.formats.shape import Shape
from posttrain.data.formats.turns import (
    ShapeError,
    Turn,
    answered,
    flat,
    is_turns,
    shown,
    structure,
    text,
    turns,
    without_system,
)

Row = Mapping[str, Any]


def question(row: Row, shape: Shape) -> tuple[str, list[Turn]]:
    """The system message, and the turns up to the answer."""
    columns = shape.columns
    value = row.get(columns.get("messages") or columns["prompt"])
    if "messages" in columns or is_turns(value):
        return without_system(turns(value), system_of(row, columns))
    parts = [text(value), text(row.get(columns["input"])) if "input" in columns else ""]
    said: list[Turn] = [("user", "\n".join(part for part in parts if part))]
    if "history" in columns:
        said = [*_history(row.get(columns["history"])), *said]
    return system_of(row, columns), said


def system_of(row: Row, columns: Mapping[str, str]) -> str:
    """The system message, and below it the tools that an assistant may call."""
    parts = [text(row.get(columns[part])) for part in ("system", "tools") if part in columns]
    return "\n\n".join(part for part in parts if part and part != "[]")


def _history(value: Any) -> list[Turn]:
    listed = structure(value)
    if listed in (None, "", []):
        return []
    if not isinstance(listed, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in listed):
        raise ShapeError(f"history is {shown(value)}, expected a list of [question, answer]")
    return [turn for asked, told in listed for turn in (("user", text(asked)), ("assistant", text(told)))]


def single(row: Row, shape: Shape) -> tuple[str, str, str]:
    """System message, prompt and the one answer."""
    system, before, completion = dialogue(row, shape)
    return system, flat(before), completion


def dialogue(row: Row, shape: Shape) -> tuple[str, list[Turn], str]:
    """System message, the turns before the last answer, and that answer."""
    system, said = question(row, shape)
    if "completion" not in shape.columns:
        return system, *answered(said)
    answer = row.get(shape.columns["completion"])
    if is_turns(answer):
        return system, *answered([*said, *without_system(turns(answer))[1]])
    return system, said, text(answer)
