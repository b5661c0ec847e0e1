"""Every format: found by looking, one row in, the texts of its kind out, by the table in the package's docstring."""

from __future__ import annotations

import json
from typing import Any

import pytest

from posttrain.data.formats import KINDS, TEXTS, Named, ShapeError, convert, convert_all, shape_of, suggestion

Row = dict[str, Any]

TURNS = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": [{"type": "text", "text": "a"}]},
    {"role": "assistant", "content": "b"},
]
SHAREGPT = [
    {"from": "human", "value": "a"},
    {"from": "gpt", "value": "b"},
    {"from": "human", "value": "c"},
    {"from": "gpt", "value": "d"},
]
INTENT = [
    {"text": "play "},
    {"text": "Lhasa", "entity": "artist"},
    {"text": " and "},
    {"text": "Noir", "entity": "artist"},
    {"text": " on "},
    {"text": "Deezer", "entity": "service"},
]

ROWS: list[tuple[str, Row, dict[str, str]]] = [
    ("prompt_completion", {"prompt": "p", "completion": "c", "system": "s"}, {"system": "s"}),
    ("prompt_completion", {"prompt": 7, "completion": {"é": [1]}}, {"prompt": "7", "completion": '{"é": [1]}'}),
    ("prompt_completion", {"question": "p", "answer": "c"}, {}),
    ("prompt_completion", {"id": "1", "prompt": "p", "type": "homonym", "label": "c"}, {}),
    ("prompt_completion", {"question": "p", "context": "x", "answer": "c"}, {"prompt": "p\nx"}),
    (
        "prompt_completion",
        {"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]},
        {},
    ),
    ("alpaca", {"instruction": "p", "input": "", "output": "c"}, {}),
    ("alpaca", {"instruction": "p", "input": "x", "output": "c", "system": "s"}, {"prompt": "p\nx", "system": "s"}),
    (
        "alpaca",
        {"instruction": "p", "input": "", "output": "c", "history": [["a", "b"]]},
        {"prompt": "User: a\n\nAssistant: b\n\nUser: p"},
    ),
    ("alpaca", {"instruction": "p", "context": "x", "response": "c", "category": "qa"}, {"prompt": "p\nx"}),
    ("text", {"text": "It rained all day. The river rose.\nWe left."}, {"prompt": "It rained all day.",
     "completion": "The river rose.\nWe left."}),
    ("text", {"text": "雨下了一整天，河水涨了很多。我们走了。"}, {"prompt": "雨下了一整天，河水涨了很多。",
     "completion": "我们走了。"}),
    ("messages", {"messages": TURNS}, {"system": "s", "prompt": "a", "completion": "b", "messages": json.dumps(
        [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        separators=(",", ":"))}),
    (
        "sharegpt",
        {"conversations": [*SHAREGPT, {"from": "human", "value": "unanswered"}], "tools": "[]"},
        {"prompt": "User: a\n\nAssistant: b\n\nUser: c", "completion": "d"},
    ),
    ("sharegpt", {"conversations": TURNS[1:], "system": "s"}, {"prompt": "a", "completion": "b", "system": "s"}),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "a"},
                {"from": "function_call", "value": '{"name": "f"}'},
                {"from": "observation", "value": "7"},
                {"from": "gpt", "value": "b"},
            ],
            "tools": '[{"name": "f"}]',
        },
        {
            "system": '[{"name": "f"}]',
            "prompt": 'User: a\n\nAssistant: {"name": "f"}\n\nTool: 7',
            "completion": "b",
        },
    ),
    (
        "intent_slots",
        {"intent": "Play", "data": INTENT},
        {
            "prompt": "play Lhasa and Noir on Deezer",
            "completion": '{"intent": "Play", "slots": {"artist": ["Lhasa", "Noir"], "service": "Deezer"}}',
        },
    ),
    ("preference", {"prompt": "p", "chosen": "+", "rejected": "-"}, {}),
    (
        "preference",
        {
            "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "p"}],
            "chosen": {"from": "gpt", "value": "+"},
            "rejected": {"from": "gpt", "value": "-"},
        },
        {"system": "s"},
    ),
    ("preference", {"chosen": "\n\nHuman: p\n\nAssistant: +", "rejected": "\n\nHuman: p\n\nAssistant: -"}, {}),
    (
        "preference",
        {
            "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: +",
            "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: -",
        },
        {"prompt": "User: a\n\nAssistant: b\n\nUser: c"},
    ),
    (
        "preference",
        {
            "prompt": "p",
            "chosen": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "+"}],
            "rejected": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "-"}],
        },
        {},
    ),
    ("preference", {"instruction": "p", "input": "x", "chosen": "+", "rejected": "-"}, {"prompt": "p\nx"}),
    ("comparison", {"prompt": "p", "output_1": "+", "output_2": "-", "preference": 1.2}, {}),
    ("comparison", {"instruction": "p", "output_1": "-", "output_2": "+", "preference": 2.0}, {}),
    ("correction", {"prompt": "p", "completion": "-", "correction": "+"}, {}),
    ("correction", {"question": "p", "bad_answer": "-", "corrected": "+"}, {}),
    ("ranking", {"prompt": "p", "answers": ["a", "b"], "ranks": [2, 1]}, {"chosen": '["a","b"]', "rejected": "[2,1]"}),
    ("ranking", {"prompt": "p", "responses": '[{"text": "a", "rank": 1}, {"text": "b", "rank": 3}]'},
     {"chosen": '["a","b"]', "rejected": "[1,3]"}),
    ("unpaired", {"prompt": "p", "completion": "c", "label": False}, {"label": "false"}),
    ("unpaired", {"messages": TURNS, "label": True}, {"system": "s", "prompt": "a", "completion": "b"}),
    ("unpaired", {"conversations": SHAREGPT[:2], "kto_tag": True}, {"prompt": "a", "completion": "b"}),
    ("unpaired", {"instruction": "p", "input": "", "output": "c", "kto_tag": "True"}, {}),
    (
        "rating",
        {"prompt": "p", "completion": "c", "annotation_1": "1_full", "annotation_2": "3_partial", "agreement": "no"},
        {"ratings": '[{"annotator":"annotation_1","rating":1},{"annotator":"annotation_2","rating":3}]'},
    ),
    (
        "rating",
        {"prompt": "p", "response": "c", "ratings": [4, 5.5, None]},
        {"ratings": '[{"annotator":"1","rating":4},{"annotator":"2","rating":5.5}]'},
    ),
    (
        "rating",
        {"prompt": "p", "completion": "c", "annotations": [{"annotator": "ann", "rating": "4"}]},
        {"ratings": '[{"annotator":"ann","rating":4}]'},
    ),
    (
        "rating",
        {"prompt": "p", "completion": "c", "ratings": '{"ann": 4, "bob": 2}'},
        {"ratings": '[{"annotator":"ann","rating":4},{"annotator":"bob","rating":2}]'},
    ),
    (
        "rating",
        {"prompt": "p", "completion": "c", "annotator": "ann", "rating": 4},
        {"ratings": '[{"annotator":"ann","rating":4}]'},
    ),
]  # fmt: skip

USUAL = {"system": "", "prompt": "p", "completion": "c", "chosen": "+", "rejected": "-", "label": "true"}


@pytest.mark.parametrize(("format", "row", "expected"), ROWS, ids=[f"{f}-{'-'.join(r)}" for f, r, _ in ROWS])
def test_a_row_is_recognised_and_converted(format: str, row: Row, expected: dict[str, str]) -> None:
    shape = shape_of([row], Named(), plain_text=True)
    assert shape.format == format
    texts = dict(zip(TEXTS[shape.kind], convert(row, shape), strict=True))
    if "messages" not in expected:
        texts.pop("messages", None)
    assert texts == {name: expected.get(name, USUAL.get(name)) for name in texts}


def test_every_format_is_tested_here() -> None:
    assert {format for format, _, _ in ROWS} == set(KINDS)


@pytest.mark.parametrize(("format", "row", "expected"), ROWS)
def test_many_rows_at_once_give_what_one_row_gives(format: str, row: Row, expected: dict[str, str]) -> None:
    shape = shape_of([row], Named(), plain_text=True)
    texts, wrong = convert_all([row, {}, row], shape, unreadable={1})
    assert not wrong
    assert [column[0] for column in texts.values()] == list(convert(row, shape))
    assert all(column[2] == column[0] and column[1] == "" for column in texts.values())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"messages": "text"}, "found text 'text' for the turns, expected a list"),
        ({"messages": [{"role": "user", "content": "never answered"}]}, "no assistant turn that answers another"),
        ({"messages": [{"role": 1, "content": "x"}]}, "role of turn 1 is 1, expected text such as user"),
        ({"messages": [{"role": "user", "content": "x"}, "y"]}, "turn 2 is text 'y', expected {role, content}"),
        ({"conversations": [{"from": "gpt", "value": "answers nothing"}]}, "no assistant turn that answers another"),
        ({"intent": "Play", "data": [{"entity": "artist"}]}, "data is not a list of {text, entity}"),
        ({"chosen": "no transcript", "rejected": "neither"}, "found a text without turns"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: +", "rejected": "\n\nHuman: b\n\nAssistant: -"},
            "chosen and rejected part before their last turn",
        ),
        ({"prompt": "p", "output_1": "a", "output_2": "b", "preference": 1.5}, "a tie"),
        ({"prompt": "p", "output_1": "a", "output_2": "b", "preference": 3}, "preference is 3, expected a number"),
        ({"prompt": "p", "answers": ["a"], "ranks": [1]}, "expected a list of two answers or more"),
        (
            {"prompt": "p", "answers": ["a", "b"], "ranks": [1, "x"]},
            "for 2 answers, expected a number for each, 1 the best",
        ),
        ({"prompt": "p", "answers": ["a", "b"], "ranks": [1, 1]}, "all answers have one rank"),
        ({"prompt": "p", "completion": "c", "label": "maybe"}, "label is text 'maybe', expected true or false"),
        ({"prompt": "p", "completion": "c", "ratings": [4, "fine"]}, "rating of 2 is text 'fine', expected a number"),
        ({"prompt": "p", "completion": "c", "ratings": [float("nan")]}, "rating of 1 is NaN, expected a number"),
        ({"prompt": "p", "completion": "c", "ratings": []}, "no rating in ratings"),
        ({"text": "One sentence only"}, "text is one sentence"),
        ({"prompt": "p"}, "no column completion (found prompt)"),
    ],
)
def test_a_row_of_another_shape_says_so(row: Row, words: str) -> None:
    formats = {"messages": "messages", "conversations": "sharegpt", "intent": "intent_slots", "chosen": "preference",
               "output_1": "comparison", "ranks": "ranking", "label": "unpaired", "ratings": "rating",
               "text": "text"}  # fmt: skip
    format = next((formats[name] for name in formats if name in row), "prompt_completion")
    shape = shape_of([row], Named(format))
    with pytest.raises(ShapeError) as caught:
        convert(row, shape)
    assert words in str(caught.value)
    assert convert_all([row], shape, ())[1] == {0: str(caught.value)}


@pytest.mark.parametrize(
    ("named", "row", "expected"),
    [
        (Named("alpaca", {"prompt": "task"}), {"task": "i", "input": "x", "output": "o"}, ("", "i\nx", "o")),
        (Named(columns={"prompt": "ask", "completion": "tell"}), {"ask": "i", "tell": "o"}, ("", "i", "o")),
        (Named(columns={"completion": "tell"}), {"question": "i", "tell": "o", "answer": "x"}, ("", "i", "o")),
        (Named(columns={"system": "role"}), {"prompt": "i", "completion": "o", "role": "s"}, ("s", "i", "o")),
        (Named(columns={"chosen": "good", "rejected": "bad"}), {"prompt": "i", "good": "a", "bad": "b"},
         ("", "i", "a", "b")),
        (Named(columns={"label": "ok"}), {"prompt": "i", "completion": "o", "ok": 0}, ("", "i", "o", "false")),
        (Named(ratings=("score",)), {"prompt": "i", "completion": "o", "score": 3},
         ("", "i", "o", '[{"annotator":"score","rating":3}]')),
        (Named(ratings=("x", "y")), {"prompt": "i", "completion": "o", "x": 3, "y": None},
         ("", "i", "o", '[{"annotator":"x","rating":3}]')),
    ],
)  # fmt: skip
def test_what_the_user_names_comes_first(named: Named, row: Row, expected: tuple[str, ...]) -> None:
    assert convert(row, shape_of([row], named)) == expected


def test_plain_text_is_general_text_only_where_that_is_meant() -> None:
    assert shape_of([{"text": "a. b"}], Named()).format == "prompt_completion"


def test_a_label_that_names_a_class_does_not_make_rows_unpaired() -> None:
    rows = [{"messages": TURNS, "label": "billing"}, {"messages": TURNS, "label": "true"}]
    assert shape_of(rows, Named()).format == "messages"


def test_the_nearest_column_is_suggested() -> None:
    assert suggestion("prompt", ["reply", "utterance"]) == "utterance"
    assert suggestion("completion", ["completions", "x"]) == "completions"
    assert suggestion("prompt", ["x"]) == ""
