"""Answers that are compared or judged: pairs, rankings, good and bad ones, ratings. Knows nothing of files."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

from posttrain.data.formats.prompts import Row, question, single, system_of
from posttrain.data.formats.shape import Shape
from posttrain.data.formats.turns import (
    ShapeError,
    Turn,
    flat,
    is_turns,
    shown,
    structure,
    text,
    transcript,
    turns,
    without_system,
)

_LEADING_NUMBER = re.compile(r"^\s*(-?\d+(?:\.\d+)?)(?=$|[_\s:)-])")
_TRUE = {"true", "1", "yes", "good", "desirable", "chosen"}
_FALSE = {"false", "0", "no", "bad", "undesirable", "rejected"}


def preference(row: Row, shape: Shape) -> tuple[str, ...]:
    """System message, prompt, better and worse answer. Raises `ShapeError`, as all here do."""
    asked = "prompt" in shape.columns or "messages" in shape.columns
    system, said = question(row, shape) if asked else (system_of(row, shape.columns), [])
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


def comparison(row: Row, shape: Shape) -> tuple[str, ...]:
    """The same of two outputs and a number from 1 (the first is better) to 2 (the second is)."""
    system, said = question(row, shape)
    value = row.get(shape.columns["preference"])
    number = _number(value)
    if number is None or not 1 <= number <= 2:
        raise ShapeError(f"preference is {shown(value)}, expected a number from 1 (output_1) to 2 (output_2)")
    if number == 1.5:
        raise ShapeError("preference is 1.5, a tie, expected one answer to be better")
    outputs = [text(row.get(shape.columns[part])) for part in ("output_1", "output_2")]
    chosen, rejected = outputs if number < 1.5 else reversed(outputs)
    return system, flat(said), chosen, rejected


def correction(row: Row, shape: Shape) -> tuple[str, ...]:
    """The same of a bad case: the corrected answer is the better one."""
    system, said = question(row, shape)
    better, worse = (text(row.get(shape.columns[part])) for part in ("correction", "completion"))
    return system, flat(said), better, worse


def ranking(row: Row, shape: Shape) -> tuple[str, ...]:
    """System message, prompt, several answers and their ranks, both as JSON lists, for `ranked_rows.by_pair`."""
    system, said = question(row, shape)
    name = shape.columns["answers"]
    listed = structure(row.get(name))
    if not isinstance(listed, list) or len(listed) < 2:
        raise ShapeError(f"{name} is {shown(row.get(name))}, expected a list of two answers or more")
    if "ranks" in shape.columns:
        ranks, answers = structure(row.get(shape.columns["ranks"])), [text(each) for each in listed]
    else:
        ranks = [each.get("rank") if isinstance(each, dict) else None for each in listed]
        answers = [_said(each) for each in listed]
    numbers = [_number(rank) for rank in ranks] if isinstance(ranks, list) else []
    if len(numbers) != len(answers) or None in numbers:
        raise ShapeError(
            f"found ranks {shown(ranks)} for {len(answers)} answers, expected a number for each, 1 the best"
        )
    if len(set(numbers)) == 1:
        raise ShapeError("all answers have one rank, expected one to be better")
    return system, flat(said), orjson.dumps(answers).decode(), orjson.dumps(numbers).decode()


def _said(value: Any) -> str:
    names = ("completion", "text", "answer", "response", "output", "content")
    return next((text(value[name]) for name in names if name in value), "") if isinstance(value, dict) else text(value)


def unpaired(row: Row, shape: Shape) -> tuple[str, ...]:
    """System message, prompt, answer, and whether it is good: "true" or "false"."""
    value = row.get(shape.columns["label"])
    word = text(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ShapeError(f"{shape.columns['label']} is {shown(value)}, expected true or false")
    return *single(row, shape), "true" if word in _TRUE else "false"


def rating(row: Row, shape: Shape) -> tuple[str, ...]:
    """System message, prompt, answer, and its ratings as a JSON list of {annotator, rating}."""
    found = [pair for pair in _ratings(row, shape) if pair[1] is not None]
    if not found:
        raise ShapeError(f"no rating in {', '.join(shape.ratings)}")
    listed = []
    for annotator, value in found:
        number = _number(value)
        if number is None:
            raise ShapeError(f"rating of {annotator} is {shown(value)}, expected a number")
        listed.append({"annotator": annotator, "rating": number})
    return *single(row, shape), orjson.dumps(listed).decode()


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
