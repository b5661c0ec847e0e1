"""Where the JSON is in an output, and which label it is."""

from __future__ import annotations

import pytest

from posttrain.evaluation.parse import find, label

ANSWER = {"intent": "GetWeather", "slots": {}}
TEXT = '{"intent": "GetWeather", "slots": {}}'


@pytest.mark.parametrize(
    ("output", "wrapper"),
    [
        (TEXT, "bare"),
        (f"\n {TEXT}\n", "bare"),
        (f"```json\n{TEXT}\n```", "fenced"),
        (f"```\n{TEXT}```", "fenced"),
        (f"Here it is:\n```json\n{TEXT}\n```\nAnything else?", "prose"),
        (f"Sure [1]: {TEXT} and {{more}}", "prose"),
        (f"<think>maybe {{}}</think>\n{TEXT}", "bare"),
    ],
)
def test_an_answer_is_found_in_its_wrapper(output: str, wrapper: str) -> None:
    found = find(output)
    assert (found.value, found.wrapper) == (ANSWER, wrapper)


@pytest.mark.parametrize(
    "output", ["", "none", "42", '"text"', "null", TEXT[:-1], '{"a": NaN}', "{'a': 1}", "[" * 9_000, "{" * 300]
)
def test_what_is_no_object_or_array_is_no_answer(output: str) -> None:
    assert find(output).wrapper == "none"
    assert find(output).value is None


def test_an_empty_object_counts_when_it_is_the_whole_output() -> None:
    assert find("{}").value == {}
    assert find("so {} then").wrapper == "none"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("Positive", "positive"),
        ('"positive".\nIt praises the film.', "positive"),
        ("Label: Very  Positive", "very positive"),
        ("**Answer:** positive", "positive"),
        ("类别：体育。", "体育"),
        ("ｐｏｓｉｔｉｖｅ", "positive"),
        ('{"label": "Positive", "why": "praise"}', "positive"),
        ('```json\n{"label": 3}\n```', "3"),
        ("<think>negative?</think>\npositive", "positive"),
        ("", ""),
        ("I think it is positive", "i think it is positive"),
    ],
)
def test_a_label_stands_by_itself_or_in_json(output: str, expected: str) -> None:
    assert label(output) == expected
