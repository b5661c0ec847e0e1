"""Asking for the reasoning first, and reading the answer after its marker."""

from __future__ import annotations

import pytest

from posttrain.evaluation import parse
from posttrain.evaluation.final_answer import final_number
from posttrain.evaluation.step_by_step import CHINESE, ENGLISH, final, requested, wording
from posttrain.prompts import messages


def test_the_wording_is_in_the_language_of_the_instruction() -> None:
    assert wording([{"system": "To JSON.", "prompt": "播放一首爵士乐"}]) is ENGLISH
    assert wording([{"system": "把请求转成 JSON。", "prompt": "play some jazz"}]) is CHINESE
    assert wording([{"system": "", "prompt": "播放一首爵士乐"}]) is CHINESE
    assert CHINESE.marker in CHINESE.request
    assert ENGLISH.marker in ENGLISH.request


def test_the_request_joins_the_instruction_and_leaves_the_prompt_alone() -> None:
    (system, user) = requested(messages("To JSON.", "play jazz"), ENGLISH)
    assert system["content"] == f"To JSON.\n\n{ENGLISH.request}"
    assert user == {"role": "user", "content": "play jazz"}
    assert requested(messages("", "play jazz"), CHINESE)[0] == {"role": "system", "content": CHINESE.request}


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("It asks for music.\nAnswer: PlayMusic", "PlayMusic"),
        ("It asks.\n**Answer:** PlayMusic", "PlayMusic"),
        ("1 + 1\nThe final answer: 2\nWait.\nAnswer: 3", "3"),
        ("这是音乐。\n答案：播放", "播放"),
        ("so it is music. Answer: PlayMusic", "PlayMusic"),
        ("Answer: PlayMusic\n\nNext: more of the same", "PlayMusic"),
        ("PlayMusic", "PlayMusic"),  # it just answered
        ('{"answer": 4}', '{"answer": 4}'),  # a key is no marker
    ],
)
def test_what_follows_the_last_marker_is_the_answer(output: str, answer: str) -> None:
    assert final(output) == answer


def test_prose_may_have_several_paragraphs() -> None:
    assert final("Think.\nAnswer: one\n\ntwo", one_paragraph=False) == "one\n\ntwo"


def test_the_parsers_of_every_kind_read_what_follows() -> None:
    """Each text has another answer of the kind before the marker, which must not be read."""
    assert parse.find(final('Perhaps {"a": 1}?\nAnswer: {"a": 2}')).value == {"a": 2}
    assert parse.label(final("negative words, but irony\nAnswer: Positive.")) == "positive"
    number = final_number(final("There are 3 and 4, #### 9\nAnswer: 12"))
    assert number is not None
    assert number.value == 12
