"""Great Expectations and the vectorised rules say the same of every row, for every expectation of every suite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from expectations import FOLDER
from expectations.checkpoint import Checkpoint
from expectations.suite import declared, read_suite
from posttrain.data.rules import CountRule, Expectation, TableRule, condition, rule_for
from posttrain.data.rules.registry import ROW, TWINS

PARAMETERS: dict[str, Any] = {
    "min_length": 10,
    "max_length": 60,
    "min_distinct_words": 0.7,
    "languages": ["en"],
    "json_schema": None,
}
GOOD = "A sentence that is long enough."
LOOP = "no no no no no no no no no no no no"
FRENCH = "Le chat est assis sur la table de la cuisine"
TOKEN = "Use ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8 now"
MAIL = "Write to maria.keller@unibas.ch for it"
PLAY = '{"intent": "Play", "slots": {"what": "jazz"}}'


def turns(*roles: str) -> str:
    return json.dumps([{"role": role, "content": "x"} for role in roles])


def by(*ratings: Any) -> str:
    return json.dumps([{"annotator": str(number), "rating": value} for number, value in enumerate(ratings)])


LABELS = {
    "fine": {"prompt": "play jazz", "completion": PLAY},
    "mojibake": {"prompt": "cafÃ© jazz", "completion": PLAY},
    "damaged": {"prompt": "play it, jazz", "completion": PLAY.replace("Play", "Pl\ufffdy")},
    "blank": {"prompt": " ", "completion": "\n"},
    "no label": {"prompt": "hm", "completion": "Play"},
    "not said": {"prompt": "play polka", "completion": PLAY},
    "loose": {"prompt": "now play jazz ", "completion": PLAY.replace("jazz", " jazz ")},
    "twin": {"prompt": " play jazz", "completion": PLAY},
    "at odds": {"prompt": "Play JAZZ!", "completion": PLAY.replace("Play", "Stop")},
}
PROSE = {
    "fine": {"prompt": "q1", "completion": GOOD},
    "short": {"prompt": "q2", "completion": "short"},
    "long": {"prompt": "q3", "completion": " ".join(f"word{number}" for number in range(20))},
    "loop": {"prompt": "q4", "completion": LOOP},
    "code": {"prompt": "q5", "completion": "x = 1;"},
    "json": {"prompt": "q6", "completion": "{}"},
    "french": {"prompt": "q7", "completion": FRENCH},
    "token": {"prompt": "q8", "completion": TOKEN},
    "mail": {"prompt": "q9", "completion": MAIL},
    "chinese": {"prompt": "q10", "completion": "今天天气很好，我们去公园散步吧。"},
}
CASES: dict[tuple[str, str], dict[str, dict[str, str]]] = {
    ("prompt_completion", "intent_slots"): LABELS,
    ("prompt_completion", "text"): PROSE,
    ("messages", "text"): {
        "fine": {"prompt": "hello", "completion": GOOD, "messages": turns("system", "user", "assistant")},
        "twice": {"prompt": "b", "completion": GOOD, "messages": turns("user", "user", "assistant")},
        "open": {"prompt": "c", "completion": GOOD, "messages": turns("user")},
        "no list": {"prompt": "d", "completion": GOOD, "messages": "x"},
    },
    ("preference", "text"): {
        "fine": {"prompt": "q", "chosen": GOOD, "rejected": "No."},
        "same": {"prompt": "q", "chosen": GOOD, "rejected": f" {GOOD.upper()}"},
        "one way": {"prompt": "r", "chosen": GOOD, "rejected": "No idea at all"},
        "other way": {"prompt": "r", "chosen": "no idea  at all", "rejected": GOOD},
        "twin": {"prompt": "q ", "chosen": GOOD, "rejected": "No."},
        "blank": {"prompt": "s", "chosen": "", "rejected": "\ufffd"},
        "loop": {"prompt": "t", "chosen": LOOP, "rejected": FRENCH},
        "token": {"prompt": "u", "chosen": TOKEN, "rejected": MAIL},
    },
    ("unpaired", "text"): {
        "fine": {"prompt": "q", "completion": GOOD, "label": "true"},
        "twin": {"prompt": "q", "completion": GOOD, "label": "false"},
        "label": {"prompt": "r", "completion": "Yes", "label": "maybe"},
    },
    ("rating", "text"): {
        "fine": {"prompt": "q", "completion": GOOD, "ratings": by(4, 4, 4)},
        "low": {"prompt": "r", "completion": GOOD, "ratings": by(3, 4, 4.9)},
        "two": {"prompt": "s", "completion": GOOD, "ratings": by(5, 5)},
        "words": {"prompt": "t", "completion": GOOD, "ratings": by("good", 5, 5)},
        "again": {
            "prompt": "u",
            "completion": GOOD,
            "ratings": json.dumps([{"annotator": "a", "rating": 5}, {"annotator": "a", "rating": 4}]),
        },
    },
}
# Suite and kind -> rule -> rows, derived by reading the rows above.
EXPECTED: dict[tuple[str, str], dict[str, set[str]]] = {
    ("prompt_completion", "intent_slots"): {
        "encoding": {"mojibake", "damaged"},
        "schema": {"blank"},
        "label_json": {"blank", "no label", "not said"},
        "duplicate": {"twin"},
        "conflict": {"fine", "twin", "at odds"},
        "trimmed": {"loose"},
        # Of 7 intents named, 5 are Play; the share of the others, 1 of 7, is above 0.1 %: see below.
    },
    ("prompt_completion", "text"): {
        "length": {"short", "long"},
        "distinct_words": {"loop"},
        "language": {"french", "chinese"},
        "secrets": {"token"},
        "personal_data": {"mail"},
    },
    ("messages", "text"): {"roles": {"twice", "open", "no list"}},
    ("preference", "text"): {
        "encoding": {"blank"},
        "schema": {"blank"},
        "same_sides": {"same"},
        "length": {"blank"},
        "distinct_words": {"loop"},
        "language": {"loop"},
        "secrets": {"token"},
        "personal_data": {"token"},
        "duplicate": {"twin"},
        "reversed": {"one way", "other way"},
    },
    ("unpaired", "text"): {"schema": {"label"}, "length": {"label"}, "duplicate": {"twin"}},
    ("rating", "text"): {"schema": {"words", "again"}, "mean_rating": {"low", "two", "words", "again"}},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(tmp_path_factory.mktemp("docs"))


def frame(rows: dict[str, dict[str, str]]) -> pl.DataFrame:
    return pl.DataFrame([{"id": name, "source": f"x:{name}", **row} for name, row in rows.items()])


def by_twin(expectation: Expectation, rows: pl.DataFrame) -> set[str]:
    """The ids of the rows that break an expectation, as its rule has it."""
    rule = rule_for(expectation)
    if expectation.condition is not None:
        where = condition.expression(expectation.condition)
        assert where is not None
        rows = rows.filter(where)
    if isinstance(rule, CountRule):
        return set(rows["id"]) if rule.wrong(rows.height) else set()
    assert rule is not None, f"{expectation.type} has no twin"
    found = rule.search(rule.sketch(rows))[ROW] if isinstance(rule, TableRule) else rule.find(rows)["row"]
    return set(rows["id"].gather(found))


def by_gx(checkpoint: Checkpoint, expectations: Sequence[Expectation], rows: pl.DataFrame) -> list[set[str]]:
    """The same, as Great Expectations has it, for each expectation."""
    found = [set[str]() for _ in expectations]
    for item in checkpoint.judge(checkpoint.suite("any", expectations), expectations, rows):
        found[item.place] = set(item.ids)
    return found


@pytest.mark.parametrize(("suite", "kind"), CASES, ids=map("-".join, CASES))
def test_suite_and_rules_agree_row_by_row(checkpoint: Checkpoint, suite: str, kind: str) -> None:
    expectations = declared(read_suite(FOLDER / f"{suite}.json"), {**PARAMETERS, "kind": kind})
    rows = frame(CASES[suite, kind])
    named = by_gx(checkpoint, expectations, rows)
    found: dict[str, set[str]] = {}
    for expectation, ids in zip(expectations, named, strict=True):
        assert by_twin(expectation, rows) == ids, expectation
        found[expectation.rule] = found.get(expectation.rule, set()) | ids
    assert {rule: ids for rule, ids in found.items() if ids} == EXPECTED[suite, kind]


def test_every_expectation_of_a_shipped_suite_is_broken_by_some_row() -> None:
    """Common labels and unique ids need more rows than one suite's case has; they are tried below."""
    for path in FOLDER.glob("*.json"):
        for item in read_suite(path)["expectations"]:
            assert item["type"] in TWINS
            tried = {rule for (suite, _), rules in EXPECTED.items() for rule in rules}
            assert item["meta"]["rule"] in tried | {"common_label"}, item


TRICKY = [
    "", " ", "\n", "\xa0", "\x1c", "play 7", "play 7\n", "Ünïcode_9", "好 12", "1", " 2 ", "3.5", "-1", "1e3", "abc",
    "a@b.org", "٣", "²", "x" * 30,
]  # fmt: skip
BUILT_IN: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_not_be_null", {"column": "text"}),
    ("expect_column_values_to_be_null", {"column": "text"}),
    *(
        (f"expect_column_values_to_{what}match_regex", {"column": "text", "regex": regex})
        for what in ("", "not_")
        for regex in (r"\S", r"^play 7$", r"\w+\s\d", r"(?i)PLAY", r"a(?=b)", r"^\s*$", r"[一-龥]", r"\bc?\d\b")
    ),
    ("expect_column_values_to_match_regex_list", {"column": "text", "regex_list": [r"\d", "play"]}),
    ("expect_column_values_to_match_regex_list", {"column": "text", "regex_list": [r"\d", "play"], "match_on": "all"}),
    ("expect_column_values_to_not_match_regex_list", {"column": "text", "regex_list": [r"^\d", "b"]}),
    ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 1, "max_value": 6}),
    ("expect_column_value_lengths_to_be_between", {"column": "text", "max_value": 6, "strict_max": True}),
    ("expect_column_value_lengths_to_equal", {"column": "text", "value": 1}),
    ("expect_column_values_to_be_between", {"column": "text", "min_value": 1, "max_value": 3}),
    ("expect_column_values_to_be_between", {"column": "text", "min_value": 1, "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "text", "max_value": 1000}),
    ("expect_column_values_to_be_in_set", {"column": "text", "value_set": ["1", "abc"]}),
    ("expect_column_values_to_not_be_in_set", {"column": "text", "value_set": ["1", "abc"]}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "text", "column_B": "other"}),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["text", "other", "third"]}),
    ("expect_column_values_to_be_unique", {"column": "third"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["other", "third"]}),
    ("expect_multicolumn_values_to_come_once", {"column_list": ["other", "third"]}),
    ("expect_column_values_to_have_common_labels", {"column": "label", "min_share": 0.1}),
]
ODD = {"type": "comparison", "column": {"name": "third"}, "operator": "==", "parameter": "odd"}
SOME = {"type": "comparison", "column": {"name": "text"}, "operator": "IN", "parameter": ["1", "abc", "play 7"]}


def test_twins_of_built_in_expectations_agree_on_tricky_texts(checkpoint: Checkpoint) -> None:
    rows = pl.DataFrame(
        {
            "id": [str(number) for number in range(len(TRICKY))],
            "source": "x",
            "text": TRICKY,
            "other": ["1", *TRICKY[1:7], *["abc"] * (len(TRICKY) - 7)],
            "third": ["odd" if number % 2 else TRICKY[number // 2] for number in range(len(TRICKY))],
            "label": ['{"intent": "A", "slots": {}}'] * (len(TRICKY) - 1) + ['{"intent": "B", "slots": {"x": "y"}}'],
        }
    )
    expectations = [Expectation(kind, kwargs) for kind, kwargs in BUILT_IN]
    expectations += [
        Expectation("expect_column_values_to_match_regex", {"column": "text", "regex": "a"}, condition=where)
        for where in (ODD, SOME, {"type": "or", "conditions": [ODD, SOME]})
    ]
    named = by_gx(checkpoint, expectations, rows)
    disagreements = [
        (expectation.type, dict(expectation.kwargs), sorted(TRICKY[int(row)] for row in ids ^ said))
        for expectation, ids in zip(expectations, named, strict=True)
        if (said := by_twin(expectation, rows)) != ids
    ]
    assert disagreements == []
    silent = [each for each, ids in zip(expectations, named, strict=True) if not ids]
    assert [each.type for each in silent] == ["expect_column_values_to_not_be_null"]  # no value is null


def test_counts_of_rows_agree(checkpoint: Checkpoint) -> None:
    rows = frame(PROSE)
    for kwargs, good in (({"min_value": 10}, True), ({"min_value": 11}, False), ({"max_value": 9}, False)):
        expectation = Expectation("expect_table_row_count_to_be_between", kwargs)
        broken = checkpoint.judge(checkpoint.suite("count", [expectation]), [expectation], rows)
        assert (not broken) == good == (not by_twin(expectation, rows))


def test_an_expectation_that_holds_mostly_holds(checkpoint: Checkpoint, tmp_path: Path) -> None:
    from posttrain.data.validate.settle import holds

    rows = frame(PROSE)  # ten rows, of which one has no letter q followed by a digit below 10
    for mostly in (0.85, 0.9, 0.95):
        kwargs = {"column": "prompt", "regex": r"^q\d$"}
        expectation = Expectation("expect_column_values_to_match_regex", kwargs, mostly=mostly)
        broken = checkpoint.judge(checkpoint.suite("mostly", [expectation]), [expectation], rows)
        assert holds(expectation, len(by_twin(expectation, rows)), rows.height) == (not broken) == (mostly <= 0.9)
