"""Every format: one row in, prompt and completion out, by the table in the module's docstring."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.data.formats import COLUMNS, Converted, ShapeError, columns, convert, detect

ROWS: list[tuple[str, dict[str, Any], Converted]] = [
    ("prompt_completion", {"prompt": "p", "completion": "c", "system": "s"}, Converted("p", "c", "s")),
    ("prompt_completion", {"prompt": 7, "completion": {"é": [1]}}, Converted("7", '{"é": [1]}')),
    (
        "prompt_completion",
        {"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]},
        Converted("p", "c"),
    ),
    ("alpaca", {"instruction": "i", "input": "", "output": "o"}, Converted("i", "o")),
    ("alpaca", {"instruction": "i", "input": "x", "output": "o"}, Converted("i\nx", "o")),
    (
        "messages",
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content": "b"},
            ]
        },
        Converted("a", "b", "s"),
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "a"},
                {"from": "gpt", "value": "b"},
                {"from": "human", "value": "c"},
                {"from": "gpt", "value": "d"},
                {"from": "human", "value": "unanswered"},
            ]
        },
        Converted("User: a\n\nAssistant: b\n\nUser: c", "d"),
    ),
    (
        "intent_slots",
        {
            "intent": "Play",
            "data": [
                {"text": "play "},
                {"text": "Lhasa", "entity": "artist"},
                {"text": " and "},
                {"text": "Noir", "entity": "artist"},
                {"text": " on "},
                {"text": "Deezer", "entity": "service"},
            ],
        },
        Converted(
            "play Lhasa and Noir on Deezer",
            '{"intent": "Play", "slots": {"artist": ["Lhasa", "Noir"], "service": "Deezer"}}',
        ),
    ),
]


@pytest.mark.parametrize(("format", "row", "expected"), ROWS)
def test_a_row_is_detected_and_converted(format: str, row: dict[str, Any], expected: Converted) -> None:
    assert detect(row) == format
    assert convert(row, format, columns(format, None, None)) == expected


def test_every_format_is_tested_here() -> None:
    assert {format for format, _, _ in ROWS} == set(COLUMNS)


@pytest.mark.parametrize(
    ("format", "row"),
    [
        ("messages", {"messages": "text"}),
        ("messages", {"messages": [{"role": "user", "content": "never answered"}]}),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": "answers nothing"}]}),
        ("intent_slots", {"intent": "Play", "data": [{"entity": "artist"}]}),
    ],
)
def test_a_row_of_another_shape_says_so(format: str, row: dict[str, Any]) -> None:
    with pytest.raises(ShapeError):
        convert(row, format, columns(format, None, None))


def test_columns_can_be_renamed() -> None:
    names = columns("alpaca", "task", None)
    assert convert({"task": "i", "input": "x", "output": "o"}, "alpaca", names) == Converted("i\nx", "o")
