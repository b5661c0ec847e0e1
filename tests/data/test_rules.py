"""One smallest input a rule, tripping exactly that rule; and what must not trip it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from posttrain.data.load import Problem
from posttrain.data.rows import Row
from posttrain.data.rules import RULES, Context
from posttrain.data.text import distinct_word_share, unreadable
from posttrain.spec import ValidateSpec


def row(prompt: str, completion: str, name: str = "") -> Row:
    return {"id": name or prompt, "source": "x:1", "system": "", "prompt": prompt, "completion": completion}


def label(intent: Any = "Play", **slots: Any) -> str:
    return json.dumps({"intent": intent, "slots": slots})


def broken(rows: list[Row], kind: str, **spec: Any) -> dict[str, list[str]]:
    """Rule -> ids of the rows that break it."""
    context = Context(kind, ValidateSpec(**spec), {"late": Problem("encoding", "byte 0xfb")})
    found = {rule.name: [item.row["id"] for item in rule.find(rows, context)] for rule in RULES}
    return {name: ids for name, ids in found.items() if ids}


GOOD = "A sentence that is long enough and says something."


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("encoding", row("Faer\ufffdn", GOOD)),
        ("encoding", row("a\x00b", GOOD)),
        ("encoding", row("cafÃ© here", GOOD)),
        ("encoding", row("fine", GOOD, "late")),
        ("schema", row(" ", GOOD)),
        ("length", row("a", "123456789")),
        ("length", row("a", " ".join(map(str, range(600))))),
        ("distinct_words", row("a", "very good " * 20)),
    ],
)
def test_prose_trips_exactly_its_rule(rule: str, bad: Row) -> None:
    assert broken([row("fine prompt", GOOD), bad], "text") == {rule: [bad["id"]]}


@pytest.mark.parametrize(
    "bad",
    [
        "play x",
        '["Play"]',
        '{"intent": "Play"}',
        '{"intent": "Play", "slots": {}, "more": 1}',
        label(""),
        label(artist=7),
        label(artist=[]),
        label(artist="Lhasa"),  # not in the prompt
    ],
)
def test_a_label_that_is_none_trips_label_json(bad: str) -> None:
    assert broken([row("play x", bad)], "intent_slots") == {"label_json": ["play x"]}


def test_good_labels_trip_nothing() -> None:
    rows = [
        row("play X  on Deezer", label(artist="x on", service="Deezer")),
        row("play a and b", label(artist=["a", "b"])),
        row("hello", label()),
    ]
    assert broken(rows, "intent_slots") == {}


def test_extraction_wants_any_json_object_or_array() -> None:
    rows = [row("a", '{"x": {"y": [1]}}'), row("b", "[1]"), row("c", "7"), row("d", "{'x': 1}")]
    assert broken(rows, "extraction") == {"label_json": ["c", "d"]}


def test_json_is_exempt_from_the_rules_on_prose() -> None:
    assert broken([row("a", "{}"), row("b", json.dumps([["x"] * 500] * 3))], "text") == {}


def test_of_duplicates_the_first_stays_and_blanks_at_the_ends_do_not_count() -> None:
    rows = [row("a b", GOOD, "1"), row(" a b\n", GOOD, "2"), row("a  b", GOOD, "3"), row("a b", GOOD + "!", "4")]
    assert broken(rows, "text") == {"duplicate": ["2"]}


def test_a_conflict_sets_all_its_rows_aside_but_prose_may_differ() -> None:
    rows = [
        row("Play dance.", label(genre="dance"), "1"),
        row("play dance", label(album="dance"), "2"),
        row("play DANCE", label(genre="DANCE"), "3"),  # the same label as 1 but for case
        row("play jazz", label(genre="jazz"), "4"),
        row("Play jazz!", label(genre="jazz"), "5"),
    ]
    assert broken(rows, "intent_slots") == {"conflict": ["1", "2", "3"]}
    assert broken([row("q", GOOD, "1"), row("q", GOOD[::-1], "2")], "text") == {}


def test_loose_slot_values_are_warned_about() -> None:
    assert broken([row("in a year ", label(time="a year "))], "intent_slots") == {"trimmed": ["in a year "]}


def test_a_rare_label_is_probably_a_typing_error() -> None:
    rows = [row(f"play {number}", label(artist=str(number))) for number in range(1200)]
    rows += [row("play z", label(artits="z")), row("sing z", label("Pley", artist="z"))]
    assert broken(rows, "intent_slots") == {"common_label": ["play z", "sing z"]}


def test_thresholds_come_from_the_spec() -> None:
    assert broken([row("a", "short")], "text", min_length=5) == {}
    assert broken([row("a", GOOD)], "text", max_length=20) == {"length": ["a"]}


def test_repetition_is_seen_in_the_worst_window_of_a_long_text() -> None:
    good = " ".join(f"word{number} and word{number} the" for number in range(200))
    assert distinct_word_share(good) > 0.7  # literally, distinct / all words would be 0.25
    assert distinct_word_share(good + " no no no" * 17) < 0.5
    # six words have five pairs: (a b)(b a)(a b)(b a)(a b), of which two differ
    assert distinct_word_share("a b a b a b") == pytest.approx(2 / 5)
    assert distinct_word_share("好好好好好好好") == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    "text", ["Cita Romántica", "naïve “quotes” – dash…", "Ångström ÄÖÜ", "tab\tand\nline", "官方杂志", "👍🏽"]
)
def test_real_text_of_any_language_is_readable(text: str) -> None:
    assert unreadable(text) == ""
