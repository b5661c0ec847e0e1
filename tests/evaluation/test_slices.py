"""Slices: which rows are in one, and that a made one is answered anew."""

from __future__ import annotations

import pytest

from posttrain.errors import DataError
from posttrain.evaluation.slices import Slice, chosen, said_carelessly

ROWS = [
    {"prompt": "play some jazz", "completion": '{"genre": "jazz"}', "place": "car"},
    {"prompt": "what is the weather in Bonn?", "completion": '{"city": "Bonn"}', "place": "home"},
    {"prompt": "play the news", "completion": "{}", "place": "car"},
]


def test_rows_are_chosen_by_value_or_by_pattern() -> None:
    assert chosen(Slice(name="car", column="place", values=("car",)), ROWS) == [0, 2]
    assert chosen(Slice(name="questions", pattern=r"\?$"), ROWS) == [1]


def test_noise_is_made_for_the_first_rows_and_leaves_the_answer_alone() -> None:
    part = Slice(name="careless", noise="fragments", rows=2)
    made = said_carelessly(part, ROWS)
    assert [row["prompt"] for row in made] == ["play some jazz", "what weather Bonn"]
    assert [row["completion"] for row in made] == [row["completion"] for row in ROWS[:2]]
    assert ROWS[1]["prompt"] == "what is the weather in Bonn?"


def test_a_slice_without_rows_or_column_is_a_mistake() -> None:
    with pytest.raises(DataError, match=r"evaluate\.slices: boat: holds none of 3 rows"):
        chosen(Slice(name="boat", column="place", values=("boat",)), ROWS)
    with pytest.raises(
        DataError, match=r"found columns prompt, completion, place, expected room; keep it with the rows"
    ):
        chosen(Slice(name="room", column="room", values=("x",)), ROWS)
