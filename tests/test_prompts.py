"""Rows as chat messages."""

from __future__ import annotations

import json

from posttrain.prompts import asked, few_shot, messages


def test_an_empty_system_message_is_left_out() -> None:
    assert messages("", "hi") == [{"role": "user", "content": "hi"}]
    assert messages("Be brief.", "hi", "") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": ""},
    ]


def test_worked_examples_stand_between_the_instruction_and_the_question() -> None:
    rows = [{"prompt": "a", "completion": "A"}, {"prompt": "b", "completion": "B"}]
    turns = few_shot(rows, "Upper case.", "c")
    assert [(turn["role"][0], turn["content"]) for turn in turns] == [
        ("s", "Upper case."),
        ("u", "a"),
        ("a", "A"),
        ("u", "b"),
        ("a", "B"),
        ("u", "c"),
    ]
    assert few_shot([], "", "c") == messages("", "c")


def test_a_conversation_is_asked_with_its_own_turns() -> None:
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": "again"},
        {"role": "user", "content": "thanks"},
    ]
    row = {"system": "Be brief.", "prompt": "User: hi…", "messages": json.dumps(turns)}
    assert asked(row) == [{"role": "system", "content": "Be brief."}, *turns[:3]]
    own = [{"role": "system", "content": "Own."}, *turns]
    assert asked({**row, "messages": json.dumps(own)}) == own[:4]
    assert asked({"system": "", "prompt": "hi", "messages": ""}) == messages("", "hi")
