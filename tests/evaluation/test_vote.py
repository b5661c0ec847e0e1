"""When answers say the same, and which one wins."""

from __future__ import annotations

import pytest

from posttrain.evaluation.vote import canonical, read_as, winner


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("extraction", '{"b": 2.0, "a": "x "}', '```json\n{"a":"x","b":2}\n```', True),
        ("extraction", '{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ("extraction", '{"a": true}', '{"a": 1}', False),
        ("intent_slots", '{"intent": "A", "slots": {}}', 'It is {"slots": {}, "intent": "A"}', True),
        ("classification", "Label: Positive.", '{"label": "positive"}', True),
        ("classification", "positive", "negative", False),
        ("verifiable", "#### 1,000", "The answer is 1000.0", True),
        ("verifiable", "#### 50%", "#### 50", False),
        ("text", "Good  day", "good day", True),
    ],
)
def test_answers_are_compared_as_parsed(kind: str, one: str, other: str, same: bool) -> None:
    assert (canonical(kind, one) == canonical(kind, other)) is same


def test_what_cannot_be_read_says_nothing() -> None:
    assert canonical("extraction", "I do not know") is None
    assert canonical("verifiable", "no number") is None
    assert canonical("classification", "") is None


@pytest.mark.parametrize(
    ("kind", "output", "parsed"),
    [
        ("extraction", 'Here: {"b": 1, "a": " x "}', '{"a": "x", "b": 1}'),
        ("intent_slots", "no idea", ""),
        ("classification", '{"label": "Rain"}', "rain"),
        ("verifiable", "so 12 / 5 = 2.4", "12/5"),
        ("verifiable", "who knows", ""),
        ("code", "Sure:\n```python\nx = 1\n```", "x = 1\n"),
        ("chat", "Good  morning", "Good  morning"),
    ],
)
def test_what_was_read_in_an_output_is_shown(kind: str, output: str, parsed: str) -> None:
    assert read_as(kind, output) == parsed


def test_most_votes_win_whatever_the_spelling() -> None:
    outputs = ["#### 3", "#### 1,000", "nothing", "so 1000"]
    assert winner("verifiable", outputs) == (1, 2)


def test_of_equal_votes_the_first_seen_wins() -> None:
    assert winner("classification", ["b", "a", "a", "b"]) == (0, 2)


def test_where_nothing_can_be_read_the_first_output_stands_without_votes() -> None:
    assert winner("extraction", ["hm", "well"]) == (0, 0)
    assert winner("extraction", ["hm", "{}"]) == (1, 1)
