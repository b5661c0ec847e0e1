"""Preference pairs and conversations: one smallest input for each thing that can be wrong."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from posttrain.data.text.preference_rules import (
    LengthBias,
    empty_sides,
    pair_hashes,
    reversed_pairs,
    role_problems,
    same_sides,
    similarity,
)


def pairs(*sides: tuple[str, str], prompt: str = "p") -> pl.DataFrame:
    return pl.DataFrame({"prompt": prompt, "chosen": [a for a, _ in sides], "rejected": [b for _, b in sides]})


def test_empty_sides_are_named() -> None:
    rows = pairs(("yes", "no"), (" \n", "no"), ("yes", "\t"), ("", " "), ("\u3000", "no"))
    assert empty_sides(rows).to_list() == ["", "chosen", "rejected", "chosen and rejected", "chosen"]


def test_sides_that_differ_in_form_only_are_the_same() -> None:
    rows = pairs(
        ("Yes,  it is.\n", "yes, it is."),
        ("ＡＢＣ，好", "abc,好"),  # full width
        ("caf\u00e9", "cafe\u0301"),
        ("x = -1", "x = 1"),
        ("Yes.", "No."),
    )
    assert same_sides(rows).to_list() == [True, True, True, False, False]


def test_similarity_is_the_jaccard_share_of_word_pairs() -> None:
    rows = pairs(
        ("the sun is hot", "the sun is cold"),  # pairs ^the the-sun sun-is | is-hot hot$ | is-cold cold$: 3 of 7
        ("a beats b", "b beats a"),  # nothing but the words: ^a a-beats beats-b b$ | ^b b-beats beats-a a$: 0 of 8
        ("天气好", "天气不好"),  # ^天 天气 好$ | 气好 | 气不 不好: 3 of 6
        ("Same, same", "same same!"),
        ("one", "two"),
        ("?!", "..."),
        ("la la la", "la la"),  # ^la la-la la$, whatever their number
    )
    assert similarity(rows).to_list() == pytest.approx([3 / 7, 0, 3 / 6, 1, 0, 0, 1])


def test_reversed_pairs_name_each_other() -> None:
    rows = pl.concat(
        [
            pairs(("Good.", "Bad."), ("fine", "poor"), ("bad.", "good. "), ("same", "same"), ("good.", "bad.")),
            pairs(("poor", "fine"), prompt="another prompt"),
        ]
    )
    found = reversed_pairs(pl.concat([pair_hashes(rows[:2]), pair_hashes(rows[2:])]))
    assert found.rows() == [(0, 2), (2, 0), (4, 2)]


def test_length_bias_adds_up_over_batches() -> None:
    rows = pairs(("long answer", "short"), ("four", "four"), ("a", "longer"), ("长的回答", "短"))
    bias = LengthBias.of(rows)
    assert (bias.pairs, bias.equal, bias.chosen_longer) == (4, 1, 2)
    assert bias.share == 2 / 3
    assert (bias.chosen_characters, bias.rejected_characters) == (11 + 4 + 1 + 4, 5 + 4 + 6 + 1)
    assert LengthBias.of(rows[:1]) + LengthBias.of(rows[1:]) == bias
    assert bias.text == "chosen is longer in 67% of 4 pairs (5 to 4 characters)"
    assert LengthBias().share == 0.5


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ("user assistant", ""),
        ("system user assistant user assistant", ""),
        ("developer user assistant", ""),
        ("user assistant tool assistant user assistant", ""),
        ("user assistant tool tool assistant", ""),
        ("assistant user assistant", "turn 1: assistant first"),
        ("user user assistant", "turn 2: user after user"),
        ("user assistant assistant", "turn 3: assistant after assistant"),
        ("user system assistant", "turn 2: system after user"),
        ("user tool assistant", "turn 2: tool after user"),
        ("user assistant tool user assistant", "turn 4: user after tool"),
        ("user assistant user", "last turn: user"),
        ("user assistant tool", "last turn: tool"),
        ("system", "last turn: system"),
        ("user bot", 'turn 2: role "bot"'),
    ],
)
def test_roles_alternate(roles: str, problem: str) -> None:
    text = json.dumps([{"role": role, "content": "x"} for role in roles.split()])
    assert role_problems(pl.Series([text])).to_list() == [problem]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "not a list of messages"),
        ("[]", "not a list of messages"),
        ("{}", "not a list of messages"),
        ("[1, 2]", "turn 1: role null"),
        ('[{"role": "user"', "not a list of messages"),
        ("[" * 100_000, "not a list of messages"),
        ([{"role": 3, "content": "x"}], "turn 1: role 3"),
        ([{"role": ["user"], "content": "x"}], 'turn 1: role ["user"]'),
        ([{"role": "user"}, {"content": "x"}], "turn 2: role null"),
    ],
)
def test_what_is_no_conversation_does_not_spoil_its_batch(value: Any, problem: str) -> None:
    good = json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [{}]}])
    text = value if isinstance(value, str) else json.dumps(value)
    assert role_problems(pl.Series([good, text, good])).to_list() == ["", problem, ""]
