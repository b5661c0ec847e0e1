"""Suites of users: what is refused, which rows they name, and what becomes of those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expectations import FOLDER, register
from expectations.suite import declared, outvoted, read_suite, suite_path
from posttrain.artifacts import Workspace
from posttrain.data.parquet import read_rows
from posttrain.data.rules.registry import TWINS
from posttrain.data.validate import ValidateResult, validate
from posttrain.errors import DataError
from posttrain.progress import silent
from posttrain.spec import DataSpec, TaskSpec, ValidateSpec

PLAY = '{"intent": "Play", "slots": {}}'
FILLED = {
    "type": "expect_column_values_to_match_regex",
    "kwargs": {"column": "prompt", "regex": "\\S"},
    "meta": {"rule": "schema"},
}


def test_every_expectation_file_is_registered_has_a_twin_and_is_used_by_a_suite() -> None:
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    names = set(register())
    assert names == {path.stem for path in FOLDER.glob("expect_*.py")}
    assert names <= set(list_registered_expectation_implementations())
    assert names <= set(TWINS)
    used = {item["type"] for path in FOLDER.glob("*.json") for item in read_suite(path)["expectations"]}
    assert names <= used


def run(root: Path, *expectations: dict[str, Any], **spec: Any) -> ValidateResult:
    """Forty rows, held against a user's suite."""
    (root / "own.json").write_text(json.dumps({"name": "own", "expectations": [FILLED, *expectations]}))
    rows = [{"prompt": f"play {number}", "completion": PLAY} for number in range(40)]
    (root / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (root / "test.jsonl").write_text(json.dumps({"prompt": "t", "completion": PLAY}))
    data = DataSpec(train="rows.jsonl", test="test.jsonl")
    task = TaskSpec(kind="intent_slots")
    workspace = Workspace(root / "w")
    return validate(data, task, ValidateSpec(suite="own.json", **spec), workspace, silent, root).result


def lacking(regex: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "expect_column_values_to_not_match_regex",
        "kwargs": {"column": "prompt", "regex": regex, **more.pop("kwargs", {})},
        "meta": {"rule": "no_seven", **more.pop("meta", {})},
        **more,
    }


def test_a_users_expectation_quarantines_its_rows(tmp_path: Path) -> None:
    result = run(tmp_path, lacking("^play 7$"), lacking("^play 8$", meta={"rule": "no_eight"}))
    quarantined = [(row["rule"], row["prompt"]) for row in read_rows(result.quarantine)]
    assert quarantined == [("no_seven", "play 7"), ("no_eight", "play 8")]
    assert result.train.rows == 38


@pytest.mark.parametrize(
    ("expectation", "spec"),
    [
        (lacking("7", meta={"severity": "warn"}), {}),
        (lacking("7", severity="warning"), {}),
        (lacking("7"), {"severity": {"no_seven": "warn"}}),
        (lacking("7"), {"severity": {"expect_column_values_to_not_match_regex": "warn"}}),
    ],
)
def test_the_suite_sets_the_severity_and_the_spec_outvotes_it(
    tmp_path: Path, expectation: dict[str, Any], spec: dict[str, Any]
) -> None:
    read = declared({"name": "own", "expectations": [expectation]}, {})
    given = ValidateSpec(**spec)
    assert [each.severity for each in outvoted(read, given.severity, given.max_share)] == ["warn"]


def test_a_rule_of_severity_warn_lists_its_rows(tmp_path: Path) -> None:
    # 7, 17, 27, 37 end in 7
    warned = run(tmp_path, lacking("7$", meta={"severity": "warn"}))
    assert (warned.train.rows, warned.quarantine.rows, warned.warned.rows) == (40, 0, 4)


def test_a_share_in_the_suite_stops_the_run(tmp_path: Path) -> None:
    expectation = lacking("7$", meta={"max_share": 0.05})
    with pytest.raises(
        DataError, match=r"^data\.train: 4 of 40 rows \(10\.0%\) break rule no_seven .* at most 5\.0%; .*no_seven$"
    ):
        run(tmp_path, expectation)
    assert run(tmp_path, expectation, max_share={"no_seven": 0.1}, max_quarantined=0.2).quarantine.rows == 4


def test_what_holds_mostly_sets_nothing_aside(tmp_path: Path) -> None:
    assert run(tmp_path, lacking("7$", kwargs={"mostly": 0.9})).quarantine.rows == 0
    result = run(tmp_path, lacking("7$", kwargs={"mostly": 0.91}), max_quarantined=0.2)
    assert result.quarantine.rows == 4


def test_a_condition_says_which_rows_are_meant(tmp_path: Path) -> None:
    for style, count in (("label", 1), ("prose", 0)):
        where = {"type": "comparison", "column": {"name": "style"}, "operator": "==", "parameter": style}
        result = run(tmp_path, lacking("^play 7$", kwargs={"row_condition": where}))
        assert result.quarantine.rows == count
        assert "style" not in read_rows(result.train)[0]


def test_a_users_expectation_on_the_table_stops_the_run(tmp_path: Path) -> None:
    many = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1000}, "meta": {"rule": "enough"}}
    with pytest.raises(DataError, match=r"data\.train: expect_table_row_count_to_be_between fails \(found 40\)"):
        run(tmp_path, many)
    result = run(tmp_path, many, severity={"enough": "warn"})
    assert result.train.rows == 40
    assert ("enough", "warn", 0, "40") in {(rule.rule, rule.severity, rule.rows, rule.example) for rule in result.rules}


def test_what_only_great_expectations_knows_of_the_table_stops_the_run(tmp_path: Path) -> None:
    distinct = {
        "type": "expect_column_unique_value_count_to_be_between",
        "kwargs": {"column": "completion", "min_value": 2},
    }
    with pytest.raises(DataError, match=r"expect_column_unique_value_count_to_be_between fails \(found 1\)"):
        run(tmp_path, distinct)


@pytest.mark.parametrize(
    ("expectation", "expected"),
    [
        (
            {"type": "expect_column_values_to_match_regexp", "kwargs": {}},
            "no such expectation; did you mean expect_column_values_to_match_regex?",
        ),
        (
            {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "completions"}},
            "found no column 'completions' in data.train (columns id, source, system, prompt, completion); "
            "did you mean completion?",
        ),
        (lacking("7", kwargs={"regx": "x"}), "found argument 'regx', which it does not have; did you mean regex?"),
        (lacking("7", kwargs={"mostly": 95}), "found mostly 95, expected a share from 0 to 1"),
        (lacking("7", meta={"severty": "warn"}), "found meta.severty; did you mean severity?"),
        (lacking("7", meta={"severity": "drop"}), "found meta.severity 'drop', expected one of quarantine, warn, stop"),
        (lacking("7", meta={"max_share": "1%"}), "found meta.max_share '1%', expected a share from 0 to 1"),
        (
            {"type": "expect_column_value_lengths_to_equal", "kwargs": {"value": {"$PARAMETER": "min_len"}}},
            "found $PARAMETER 'min_len', which a run does not supply; did you mean min_length?",
        ),
        (
            {"type": "expect_column_values_to_be_json_parseable", "kwargs": {"column": "completion", "colour": 1}},
            "colour",
        ),
    ],
)
def test_a_slip_in_a_suite_is_named_in_one_line(tmp_path: Path, expectation: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        run(tmp_path, expectation)
    assert str(caught.value).startswith(f"suite own: {expectation['type']}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_or_broken_suite_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"validate\.suite: found 'prompt', .* use one of .*prompt_completion"):
        suite_path("prompt", tmp_path)
    (tmp_path / "own.json").write_text('{"expectations": [\n}')
    with pytest.raises(DataError, match=r"own\.json:2: invalid JSON"):
        read_suite(suite_path("own.json", tmp_path))
    for text in ("[]", '{"expectations": 3}', '{"expectations": [{"kwargs": {}}]}', '{"expectations": ["x"]}'):
        (tmp_path / "own.json").write_text(text)
        with pytest.raises(DataError, match=r"own\.json: expected .* mend the suite$"):
            read_suite(suite_path("own.json", tmp_path))
