"""Rows of every format to the texts of their kind (`shape.TEXTS`).

Knows nothing of files, ids and rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence

from posttrain.data.formats.answers import comparison, correction, preference, ranking, rating, unpaired
from posttrain.data.formats.prompts import Row, question, single, system_of
from posttrain.data.formats.shape import TEXTS, Shape
from posttrain.data.formats.turns import ShapeError, answered, as_json, flat, structure, text

_OPENING = re.compile(r".{10,}?(?:[.!?][\"”’)\]]*(?=\s)|[。！？][\"”’」』]*|\n)", re.DOTALL)


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
                systems[at] = system_of(row, shape.columns)
        else:
            rest.append(at)
    return rest


def _conversation(row: Row, shape: Shape) -> tuple[str, ...]:
    system, said = question(row, shape)
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
    return system_of(row, shape.columns), prompt, json.dumps(label, ensure_ascii=False)


def _text(row: Row, shape: Shape) -> tuple[str, ...]:
    """The first sentence or line is the prompt, the rest its completion: general text is there to be continued."""
    whole = text(row.get(shape.columns["text"])).strip()
    opening = _OPENING.match(whole)
    rest = whole[opening.end() :].strip() if opening else ""
    if opening is None or not rest:
        raise ShapeError(f"{shape.columns['text']} is one sentence, expected more, for the rest continues the first")
    return system_of(row, shape.columns), opening[0].strip(), rest


_CONVERTERS: dict[str, Callable[[Row, Shape], tuple[str, ...]]] = {
    "intent_slots": _intent_slots,
    "preference": preference,
    "comparison": comparison,
    "ranking": ranking,
    "correction": correction,
    "rating": rating,
    "unpaired": unpaired,
    "messages": _conversation,
    "sharegpt": _conversation,
    "alpaca": single,
    "prompt_completion": single,
    "text": _text,
}
