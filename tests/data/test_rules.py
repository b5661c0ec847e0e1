"""One smallest input a rule, tripping exactly that rule; and what must not trip it. By the shipped suites."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from expectations import FOLDER
from expectations.suite import declared, read_suite
from posttrain.data.rules import Expectation, condition, pattern, rule_for
from posttrain.data.rules.label import TaskJson
from posttrain.data.rules.registry import ROW, TableRule
from posttrain.data.validate.book import RuleBook
from posttrain.data.validate.examine import WARNINGS, Examine
from posttrain.data.validate.intake import take_in
from posttrain.data.validate.settle import Part, compare
from posttrain.errors import DataError
from posttrain.progress import silent
from posttrain.spec import ValidateSpec

GOOD = "A sentence that is long enough and says something."
Row = tuple[str, str]


def label(intent: Any = "Play", **slots: Any) -> str:
    return json.dumps({"intent": intent, "slots": slots})


@pytest.fixture
def broken(tmp_path: Path) -> Any:
    """A function from rows to rule -> numbers of the rows that break it, by the suite for prompt and completion."""

    def find(rows: list[Row], kind: str, schema: Any = None, heeded: bool = True, **spec: Any) -> dict[str, list[int]]:
        parameters = {**ValidateSpec(**spec).model_dump(), "kind": kind, "json_schema": schema}
        book = RuleBook.of(declared(read_suite(FOLDER / "prompt_completion.json"), parameters))
        frame = pl.DataFrame(
            [
                {"id": str(number), "source": f"x:{number}", "system": "", "prompt": prompt, "completion": completion}
                for number, (prompt, completion) in enumerate(rows)
            ]
        )
        batches = [Examine(book, "train", kind, heeded)(part) for part in frame.iter_slices(2)]
        part = Part(take_in("train", batches, tmp_path, silent), book, heeded)
        compare(part)
        found: dict[str, list[int]] = {}
        for batch in batches:
            for row, rule in batch.gone.select("id", "rule").iter_rows():
                found.setdefault(rule, []).append(int(row))
            for row, text in batch.kept.filter(pl.col(WARNINGS) != "").select("id", WARNINGS).iter_rows():
                for warning in json.loads(text):
                    found.setdefault(warning[0], []).append(int(row))
        kept = [row for batch in batches for row in batch.kept["id"]]
        for late in (*part.aside, *part.warned):
            for row, rule in late.select("row", "rule").iter_rows():
                found.setdefault(rule, []).append(int(kept[row]))
        return found

    return find


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("encoding", ("Faer\ufffdn", GOOD)),
        ("encoding", ("a\x00b", GOOD)),
        ("encoding", ("cafÃ© here", GOOD)),
        ("schema", (" ", GOOD)),
        ("schema", ("a", "\n")),
        ("length", ("a", "123456789")),
        ("length", ("a", " ".join(map(str, range(600))))),
        ("distinct_words", ("a", "very good " * 20)),
        ("secrets", ("a", "Log in with ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8.")),
        ("personal_data", ("a", "Write to maria.keller@unibas.ch for more of it.")),
    ],
)
def test_prose_trips_exactly_its_rule(broken: Any, rule: str, bad: Row) -> None:
    assert broken([("fine prompt", GOOD), bad], "text") == {rule: [1]}


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
def test_a_label_that_is_none_trips_label_json(broken: Any, bad: str) -> None:
    assert broken([("play x", bad)], "intent_slots") == {"label_json": [0]}


def test_good_labels_trip_nothing(broken: Any) -> None:
    rows = [
        ("play X  on Deezer", label(artist="x on", service="Deezer")),
        ("play a and b", label(artist=["a", "b"])),
        ("hello", label()),
    ]
    assert broken(rows, "intent_slots") == {}


def test_extraction_wants_any_json_object_or_array(broken: Any) -> None:
    rows = [("a", '{"x": {"y": [1]}}'), ("b", "[1]"), ("c", "7"), ("d", "{'x': 1}")]
    assert broken(rows, "extraction") == {"label_json": [2, 3]}


PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
}


def test_extraction_matches_the_schema_of_the_task(broken: Any) -> None:
    rows = [("a", '{"name": "Ada", "age": 36}'), ("b", '{"age": 36}'), ("c", '{"name": "Bo", "age": -1}'), ("d", "[]")]
    assert broken(rows, "extraction", PERSON) == {"label_json": [1, 2, 3]}
    found = TaskJson("completion", "extraction", PERSON).find(pl.DataFrame({"completion": [row[1] for row in rows]}))
    assert found["value"].to_list()[1] == "age: -1 is less than the minimum of 0"


@pytest.mark.parametrize(
    "schema", [{"type": "objct"}, {"$ref": "https://example.org/schema.json"}, {"$ref": "file:///etc/passwd"}]
)
def test_what_is_no_schema_is_refused_and_nothing_is_fetched(broken: Any, schema: Any) -> None:
    with pytest.raises(DataError, match=r"^task\.json_schema: no valid JSON Schema \(.*\); mend it$"):
        broken([("a", "{}")], "extraction", schema)


def test_json_and_code_are_exempt_from_the_rules_on_prose(broken: Any) -> None:
    code = "for x in y:\n    print(x)\n" * 30
    assert broken([("a", "{}"), ("b", json.dumps([["x"] * 500] * 3)), ("c", code), ("d", "f();")], "text") == {}


def test_of_duplicates_the_first_stays_and_blanks_at_the_ends_do_not_count(broken: Any) -> None:
    rows = [("a b", GOOD), (" a b\n", GOOD), ("a  b", GOOD), ("a b", GOOD + "!")]
    assert broken(rows, "text") == {"duplicate": [1]}


def test_the_twin_of_a_row_that_was_set_aside_stays(broken: Any) -> None:
    assert broken([("a", "\ufffd"), ("a", "\ufffd"), ("b", GOOD), ("b", GOOD)], "text") == {
        "encoding": [0, 1],
        "duplicate": [3],
    }


def test_a_conflict_sets_all_its_rows_aside_but_prose_may_differ(broken: Any) -> None:
    rows = [
        ("Play dance.", label(genre="dance")),
        ("play dance", label(album="dance")),
        ("play DANCE", label(genre="DANCE")),  # the same label as the first but for case
        ("play jazz", label(genre="jazz")),
        ("Play jazz!", label(genre="jazz")),
    ]
    assert broken(rows, "intent_slots") == {"conflict": [0, 1, 2]}
    assert broken([("q", GOOD), ("q", GOOD[::-1])], "text") == {}


def test_loose_slot_values_are_warned_about(broken: Any) -> None:
    assert broken([("in a year ", label(time="a year "))], "intent_slots") == {"trimmed": [0]}


def test_a_rare_label_is_probably_a_typing_error(broken: Any) -> None:
    # 1,202 intents and 1,202 slots: one use is 0.083 % of them, two would be 0.17 %
    rows = [(f"play {number}", label(artist=str(number))) for number in range(1200)]
    rows += [("play z", label(artits="z")), ("sing z", label("Pley", artist="z"))]
    assert broken(rows, "intent_slots") == {"common_label": [1200, 1201]}


def test_thresholds_come_from_the_spec(broken: Any) -> None:
    assert broken([("a", "short")], "text", min_length=5) == {}
    assert broken([("a", GOOD)], "text", max_length=20) == {"length": [0]}
    assert broken([("a", "Le chat est assis sur la table de la cuisine")], "text", languages="en") == {"language": [0]}


def test_a_row_that_breaks_two_rules_is_set_aside_under_the_first_and_warned_of_under_both(broken: Any) -> None:
    bad = [("caf\u00c3\u00a9", "short")]
    assert broken(bad, "text") == {"encoding": [0]}
    assert broken(bad, "text", heeded=False) == {"encoding": [0], "length": [0]}


# --- how rules are made from lines of a suite ----------------------------------------------------------------


def test_every_rule_survives_a_trip_to_another_process() -> None:
    parameters = {**ValidateSpec().model_dump(), "kind": "extraction", "json_schema": PERSON}
    for path in FOLDER.glob("*.json"):
        for expectation in declared(read_suite(path), parameters):
            rule = rule_for(expectation)
            assert pickle.loads(pickle.dumps(rule)) == rule


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"column": "a", "regx": "x"}, "found argument 'regx', which it does not have; did you mean regex?"),
        ({"column": "a"}, "regex: Field required; mend the suite"),
        ({"column": "a", "regex": 7}, "regex: Input should be a valid string; mend the suite"),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        rule_for(Expectation("expect_column_values_to_match_regex", kwargs, suite="own"))
    assert str(caught.value) == f"suite own: expect_column_values_to_match_regex: {expected}"


def test_a_condition_that_polars_cannot_decide_has_no_twin() -> None:
    number = {"type": "comparison", "column": {"name": "a"}, "operator": "<", "parameter": 3}
    both = {"type": "and", "conditions": [number, number]}
    for where in (number, both, {"type": "pass_through", "pass_through_filter": "a < 3"}):
        assert condition.expression(where) is None
        expectation = Expectation("expect_column_values_to_be_null", {"column": "a"}, condition=where)
        assert rule_for(expectation) is None
    assert list(condition.columns(both)) == ["a", "a"]


TEXTS = [
    "",
    "play 7",
    "play 7\n",
    "7\nplay",
    "a_b",
    "Zoë",
    "好",
    "好好",
    "\x1c",
    "\xa0",
    "²",
    "a.b",
    "x-y",
    "é7",
    "\u0301",
]


@pytest.mark.parametrize(
    "regex",
    [
        *(r"\S", r"^\s*$", r"7$", r"a|b$", r"\w+", r"[^\W_]{2}", r"\bplay\b", r"[一-龥]+", r"[\x00-\x1f\u00a0]"),
        *(r"[\w.-]$", r"(?i)PLAY", r"a(?=_)", r"a*+", r"(?:pl)ay", r"\d", r"^.$", r"\$$"),
    ],
)
def test_patterns_mean_what_they_mean_in_python(regex: str) -> None:
    import re

    found = pattern.contains(pl.Series(TEXTS), regex).to_list()
    assert found == [re.search(regex, text) is not None for text in TEXTS]


def test_sketches_do_not_depend_on_batches() -> None:
    """Rules that compare rows find the same whether rows come in one batch or in many."""
    numbers = range(50)
    rows = pl.DataFrame({"a": [str(number % 7) for number in numbers], "b": [str(number % 3) for number in numbers]})
    for kind, kwargs in (
        ("expect_multicolumn_values_to_come_once", {"column_list": ["a", "b"]}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a", "b"]}),
        ("expect_column_pair_values_to_have_one_label", {"column_A": "a", "column_B": "b"}),
    ):
        rule = rule_for(Expectation(kind, kwargs))
        assert isinstance(rule, TableRule)
        parts = [
            rule.sketch(rows.slice(start, 8)).with_columns((pl.col(ROW) + start).cast(pl.UInt32))
            for start in range(0, 50, 8)
        ]
        whole = rule.search(rule.sketch(rows))
        assert whole.height
        assert rule.search(pl.concat(parts)).equals(whole)
