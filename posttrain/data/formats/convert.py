"""Rows of every format to the texts of their kind (`shape.TEXTS`).

Knows nothing of files, ids and rules.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson

from posttrain.data.formats.shape import TEXTS, Shape
from posttrain.data.formats.turns import (
    ShapeError,
    Turn,
    answered,
    as_json,
    flat,
    is_turns,
    shown,
    structure,
    text,
    transcript,
    turns,
    without_system,
)

Row = Mapping[str, Any]

_OPENING = re.compile(r".{10,}?(?:[.!?][\"”’)\]]*(?=\s)|[。！？][\"”’」』]*|\n)", re.DOTALL)
_LEADING_NUMBER = re.compile(r"^\s*(-?\d+(?:\.\d+)?)(?=$|[_\s:)-])")
_TRUE = {"true", "1", "yes", "good", "desirable", "chosen"}
_FALSE = {"false", "0", "no", "bad", "undesirable", "rejected"}


def convert(row: Row, shape: Shape) -> tuple[str, ...]:
    """A row as the texts of its kind, in the order of `TEXTS`. Raises `ShapeError`, which names the column."""
    if missing := [name for name in shape.needed if name not in row]:
        raise ShapeError(f"no column {' and '.join(missing)} (found {', '.join(map(str, row)) or 'none'})")
    return _CONVERTERS[shape.format](row, shape)


def convert_all(
    rows: Sequence[Row], shape: Shape, unreadable: Collection[int]
) -> tuple[dict[str, list[str]], dict[int, str]]:
    """Columns of texts, and for rows that have not the format's shape what is wrong, by position.

    Those rows, and the `unreadable` ones, are left blank.
    """
    texts = [[""] * len(rows) for _ in TEXTS[shape.kind]]
    wrong: dict[int, str] = {}
    rest = _plain(rows, shape, unreadable, texts) if may_be_plain(shape) else range(len(rows))
    for at in rest:
        if at in unreadable:
            continue
        try:
            for column, value in zip(texts, convert(rows[at], shape), strict=True):
                column[at] = value
        except ShapeError as error:
            wrong[at] = str(error)
    return dict(zip(TEXTS[shape.kind], texts, strict=True)), wrong


def may_be_plain(shape: Shape) -> bool:
    """Whether a row of this shape is done when its prompt and completion are texts."""
    return shape.format in ("prompt_completion", "alpaca") and shape.columns.keys() <= {
        "system",
        "prompt",
        "completion",
    }


def _plain(rows: Sequence[Row], shape: Shape, unreadable: Collection[int], texts: list[list[str]]) -> list[int]:
    """Fill in the rows whose prompt and completion are nothing but texts, as nearly all are; the others' positions."""
    systems, prompts, completions = texts
    prompt, completion = shape.columns["prompt"], shape.columns["completion"]
    system = shape.columns.get("system")
    rest = []
    for at, row in enumerate(rows):
        asked, told = row.get(prompt), row.get(completion)
        if type(asked) is str and type(told) is str and asked[:1] != "[" and told[:1] != "[" and at not in unreadable:
            prompts[at], completions[at] = asked, told
            if system:
                systems[at] = _system(row, shape.columns)
        else:
            rest.append(at)
    return rest


def _question(row: Row, shape: Shape) -> tuple[str, list[Turn]]:
    """The system message, and the turns up to the answer."""
    columns = shape.columns
    value = row.get(columns.get("messages") or columns["prompt"])
    if "messages" in columns or is_turns(value):
        return without_system(turns(value), _system(row, columns))
    parts = [text(value), text(row.get(columns["input"])) if "input" in columns else ""]
    said: list[Turn] = [("user", "\n".join(part for part in parts if part))]
    if "history" in columns:
        said = [*_history(row.get(columns["history"])), *said]
    return _system(row, columns), said


def _system(row: Row, columns: Mapping[str, str]) -> str:
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


def _single(row: Row, shape: Shape) -> tuple[str, str, str]:
    """System message, prompt and the one answer."""
    if "completion" not in shape.columns:
        system, said = _question(row, shape)
        before, completion = answered(said)
        return system, flat(before), completion
    system, said = _question(row, shape)
    answer = row.get(shape.columns["completion"])
    if is_turns(answer):
        before, completion = answered([*said, *without_system(turns(answer))[1]])
        return system, flat(before), completion
    return system, flat(said), text(answer)


def _conversation(row: Row, shape: Shape) -> tuple[str, ...]:
    system, said = _question(row, shape)
    before, completion = answered(said)
    return system, flat(before), completion, as_json(system, said)


def _intent_slots(row: Row, shape: Shape) -> tuple[str, ...]:
    name = shape.columns["data"]
    parts = structure(row.get(name))
    if not isinstance(parts, list) or not all(isinstance(part, dict) and "text" in part for part in parts):
        raise ShapeError(f"{name} is not a list of {{text, entity}}")
    found: dict[str, list[str]] = {}
    for part in parts:
        if part.get("entity"):
            found.setdefault(text(part["entity"]), []).append(text(part["text"]))
    slots = {name: values[0] if len(values) == 1 else values for name, values in found.items()}
    label = {"intent": text(row.get(shape.columns["intent"])), "slots": slots}
    prompt = "".join(text(part["text"]) for part in parts)
    return _system(row, shape.columns), prompt, json.dumps(label, ensure_ascii=False)


def _text(row: Row, shape: Shape) -> tuple[str, ...]:
    """The first sentence or line is the prompt, the rest its completion: general text is there to be continued."""
    whole = text(row.get(shape.columns["text"])).strip()
    opening = _OPENING.match(whole)
    rest = whole[opening.end() :].strip() if opening else ""
    if opening is None or not rest:
        raise ShapeError(f"{shape.columns['text']} is one sentence, expected more, for the rest continues the first")
    return _system(row, shape.columns), opening[0].strip(), rest


# --- answers that are compared or judged ---------------------------------------------------------------------


def _preference(row: Row, shape: Shape) -> tuple[str, ...]:
    asked = "prompt" in shape.columns or "messages" in shape.columns
    system, said = _question(row, shape) if asked else (_system(row, shape.columns), [])
    sides = [_side(row.get(shape.columns[part]), part, asked) for part in ("chosen", "rejected")]
    (before, chosen), (other, rejected) = sides
    if before != other:
        raise ShapeError("chosen and rejected part before their last turn, expected one prompt for both")
    if before:
        system, said = without_system(before, system)
    if not said:
        raise ShapeError("no prompt; name its column")
    return system, flat(said), chosen, rejected


def _side(value: Any, part: str, asked: bool) -> tuple[list[Turn], str]:
    """The turns that an answer brings along, and the answer."""
    listed = structure(value)
    if isinstance(listed, dict) and ("role" in listed or "from" in listed):
        return [], turns([listed])[0][1]
    if is_turns(listed):
        said = turns(listed)
    elif asked:
        return [], text(value)
    elif isinstance(value, str):
        said = transcript(value)
    else:
        raise ShapeError(f"{part} is {shown(value)}, expected text or a list of turns")
    if said[-1][0] != "assistant":
        raise ShapeError(f"{part} does not end with an assistant turn")
    return said[:-1], said[-1][1]


def _comparison(row: Row, shape: Shape) -> tuple[str, ...]:
    system, said = _question(row, shape)
    value = row.get(shape.columns["preference"])
    number = _number(value)
    if number is None or not 1 <= number <= 2:
        raise ShapeError(f"preference is {shown(value)}, expected a number from 1 (output_1) to 2 (output_2)")
    if number == 1.5:
        raise ShapeError("preference is 1.5, a tie, expected one answer to be better")
    outputs = [text(row.get(shape.columns[part])) for part in ("output_1", "output_2")]
    chosen, rejected = outputs if number < 1.5 else reversed(outputs)
    return system, flat(said), chosen, rejected


def _unpaired(row: Row, shape: Shape) -> tuple[str, ...]:
    value = row.get(shape.columns["label"])
    word = text(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ShapeError(f"{shape.columns['label']} is {shown(value)}, expected true or false")
    return *_single(row, shape), "true" if word in _TRUE else "false"


def _rating(row: Row, shape: Shape) -> tuple[str, ...]:
    found = [pair for pair in _ratings(row, shape) if pair[1] is not None]
    if not found:
        raise ShapeError(f"no rating in {', '.join(shape.ratings)}")
    listed = []
    for annotator, value in found:
        number = _number(value)
        if number is None:
            raise ShapeError(f"rating of {annotator} is {shown(value)}, expected a number")
        listed.append({"annotator": annotator, "rating": number})
    return *_single(row, shape), orjson.dumps(listed).decode()


def _ratings(row: Row, shape: Shape) -> list[tuple[str, Any]]:
    """(annotator, rating as it stands there)."""
    if "annotator" in shape.columns:
        return [(text(row.get(shape.columns["annotator"])), row.get(shape.ratings[0]))]
    if len(shape.ratings) > 1:
        return [(name, _one(row.get(name))) for name in shape.ratings]
    value = structure(row.get(shape.ratings[0]))
    if isinstance(value, dict):
        return [(str(annotator), _one(rating)) for annotator, rating in value.items()]
    if isinstance(value, list):
        return [(_annotator(each) or str(number), _one(each)) for number, each in enumerate(value, 1)]
    return [(shape.ratings[0], value)]


def _one(value: Any) -> Any:
    if not isinstance(value, dict):
        return None if value == "" else value
    return next((value[name] for name in ("rating", "score", "value", "label") if name in value), value)


def _annotator(value: Any) -> str:
    names = ("annotator", "annotator_id", "rater", "worker", "worker_id", "name", "id")
    return next((text(value[name]) for name in names if name in value), "") if isinstance(value, dict) else ""


def _number(value: Any) -> int | float | None:
    """A finite number, perhaps written as text, perhaps as the first part of a name such as 2_full_refusal."""
    if isinstance(value, str):
        found = _LEADING_NUMBER.match(value)
        value = None if not found else float(found[1]) if "." in found[1] else int(found[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


_CONVERTERS: dict[str, Callable[[Row, Shape], tuple[str, ...]]] = {
    "intent_slots": _intent_slots,
    "preference": _preference,
    "comparison": _comparison,
    "rating": _rating,
    "unpaired": _unpaired,
    "messages": _conversation,
    "sharegpt": _conversation,
    "alpaca": _single,
    "prompt_completion": _single,
    "text": _text,
}
