"""Slices: which rows are in one, and that a made one is answered anew."""

from __future__ import annotations

import json

import pytest

from posttrain.errors import DataError
from posttrain.evaluation.slices import Slice, check_inhabited, chosen, said_carelessly
from posttrain.prompts import asked

ROWS = [
    {"prompt": "play some jazz", "completion": '{"genre": "jazz"}', "place": "car"},
    {"prompt": "what is the weather in Bonn?", "completion": '{"city": "Bonn"}', "place": "home"},
    {"prompt": "play the news", "completion": "{}", "place": "car"},
]


def test_rows_are_chosen_by_value_or_by_pattern() -> None:
    assert chosen(Slice(name="car", column="place", values=("car",)), ROWS) == [0, 2]
    assert chosen(Slice(name="questions", pattern=r"\?$"), ROWS) == [1]


def test_noise_is_made_for_the_first_rows_that_it_changes_and_leaves_the_answer_alone() -> None:
    """There is no small word in the first row, so it would be a clean row among careless ones."""
    part = Slice(name="careless", noise="fragments", rows=2)
    made = said_carelessly(part, ROWS)
    assert [row["prompt"] for row in made] == ["what weather Bonn", "play news"]
    assert [row["completion"] for row in made] == [row["completion"] for row in ROWS[1:]]
    assert ROWS[1]["prompt"] == "what is the weather in Bonn?"
    with pytest.raises(DataError, match=r"evaluate\.slices: careless: fragments changes none of 1 prompts"):
        said_carelessly(part, ROWS[:1])


def test_of_a_conversation_the_last_turn_is_said_so_for_the_turns_are_what_is_asked() -> None:
    said = ["is it the jazz?", "It is.", "play the news in the car", "{}"]
    roles = ["user", "assistant", "user", "assistant"]
    turns = [{"role": role, "content": words} for role, words in zip(roles, said, strict=True)]
    row = {
        "system": "Be brief.",
        "prompt": "User: is it the jazz?\n\nAssistant: It is.\n\nUser: play the news in the car",
        "completion": "{}",
        "messages": json.dumps(turns),
    }
    (made,) = said_carelessly(Slice(name="careless", noise="fragments"), [row])
    assert [turn["content"] for turn in asked(made)] == ["Be brief.", "is it the jazz?", "It is.", "play news car"]
    assert made["prompt"].endswith("User: play news car")


def test_a_slice_without_rows_or_column_is_a_mistake() -> None:
    with pytest.raises(DataError, match=r"evaluate\.slices: boat: holds none of 3 rows"):
        chosen(Slice(name="boat", column="place", values=("boat",)), ROWS)
    with pytest.raises(
        DataError, match=r"found columns prompt, completion, place, expected room; keep it with the rows"
    ):
        chosen(Slice(name="room", column="room", values=("x",)), ROWS)


def test_a_slice_that_the_test_rows_lack_is_told_before_anything_is_trained() -> None:
    parts = [Slice(name="bonn", pattern="Bonn"), Slice(name="careless", noise="typos")]
    check_inhabited(parts, {"first validation": ROWS, "test": ROWS[1:]})
    with pytest.raises(DataError, match=r"evaluate\.slices: bonn: holds none of the 1 test rows"):
        check_inhabited(parts, {"first validation": ROWS, "test": ROWS[:1]})
