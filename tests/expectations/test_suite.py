"""The custom expectations and suites of users: which rows they name, and what becomes of those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expectations import FOLDER, register
from expectations.checkpoint import Checkpoint, read_suite, suite_path
from posttrain.artifacts import Workspace
from posttrain.data.parquet import read_rows
from posttrain.data.validate import validate
from posttrain.errors import DataError
from posttrain.progress import silent
from posttrain.spec import DataSpec, TaskSpec, ValidateSpec

PARAMETERS = {"min_length": 10, "max_length": 2000, "min_distinct_words": 0.7}
PLAY = '{"intent": "Play", "slots": {}}'
GOOD = "A sentence that is long enough and says something."


def broken(docs: Path, rows: list[tuple[str, str, str]], kind: str) -> dict[str, set[str]]:
    """Rule -> ids that the shipped suite names, for rows (prompt, completion, style) with ids 0, 1, 2 …"""
    checkpoint = Checkpoint(read_suite(suite_path("prompt_completion", Path("."))), docs)
    records = [
        {"id": str(index), "source": f"x:{index}", "prompt": prompt, "completion": completion, "style": style}
        for index, (prompt, completion, style) in enumerate(rows)
    ]
    found: dict[str, set[str]] = {}
    for item in checkpoint.run("rows", records, {**PARAMETERS, "kind": kind}):
        found.setdefault(item.rule, set()).update(item.ids)
    return found


def test_the_shipped_suite_names_the_row_under_its_rule(tmp_path: Path) -> None:
    labels = [
        ("play a", PLAY, "label"),
        ("play \ufffd", PLAY, "label"),
        ("play b", '{"intent": "Play"}', "label"),
        (" play a", PLAY, "label"),
        ("play c", PLAY, "label"),
        ("Play C!", PLAY.replace("Play", "Stop"), "label"),
        (" ", PLAY, "label"),
    ]
    assert broken(tmp_path, labels, "intent_slots") == {
        "encoding": {"1"},
        "label_json": {"2"},
        "duplicate": {"3"},
        "conflict": {"4", "5"},
        "schema": {"6"},
    }
    prose = [("a", GOOD, "prose"), ("a", "short", "prose"), ("b", "very good " * 20, "prose"), ("c", "{}", "json")]
    assert broken(tmp_path, prose, "text") == {"length": {"1"}, "distinct_words": {"2"}}


def test_every_expectation_file_is_registered_and_used_by_a_suite() -> None:
    names = {path.stem for path in FOLDER.glob("expect_*.py")}
    assert {kind.expectation_type for kind in register()} == names  # type: ignore[attr-defined]
    used = {item["type"] for path in FOLDER.glob("*.json") for item in read_suite(path)["expectations"]}
    assert names <= used


def run(root: Path, expectation: dict[str, Any], **spec: Any) -> Any:
    suite = read_suite(FOLDER / "prompt_completion.json")
    own = {**suite, "name": "own", "expectations": [*suite["expectations"], expectation]}
    (root / "own.json").write_text(json.dumps(own))
    rows = [{"prompt": f"play {number}", "completion": PLAY} for number in range(40)]
    (root / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (root / "test.jsonl").write_text(json.dumps({"prompt": "t", "completion": PLAY}))
    data = DataSpec(train="rows.jsonl", test="test.jsonl")
    task = TaskSpec(kind="intent_slots")
    workspace = Workspace(root / "w")
    return validate(data, task, ValidateSpec(suite="own.json", **spec), workspace, silent, root).result


NO_SEVEN = {
    "type": "expect_column_values_to_not_match_regex",
    "kwargs": {"column": "prompt", "regex": "^play 7$"},
    "meta": {"rule": "no_seven"},
}


def test_a_users_expectation_quarantines_its_rows(tmp_path: Path) -> None:
    result = run(tmp_path, NO_SEVEN)
    assert [(row["rule"], row["prompt"]) for row in read_rows(result.quarantine)] == [("no_seven", "play 7")]
    assert result.train.rows == 39
    warned = run(tmp_path, NO_SEVEN, severity={"no_seven": "warn"})
    assert (warned.train.rows, warned.quarantine.rows, warned.warned.rows) == (40, 0, 1)


def test_a_users_expectation_on_the_table_stops_the_run(tmp_path: Path) -> None:
    many = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1000}, "meta": {"rule": "enough"}}
    with pytest.raises(DataError, match=r"data\.train: expect_table_row_count_to_be_between fails \(found 40\)"):
        run(tmp_path, many)
    assert run(tmp_path, many, severity={"enough": "warn"}).train.rows == 40


@pytest.mark.parametrize(
    ("expectation", "expected"),
    [
        ({"type": "expect_nothing_to_exist", "kwargs": {}}, "expect_nothing_to_exist"),
        ({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "colour"}}, "colour"),
    ],
)
def test_a_broken_suite_is_refused_in_one_line(tmp_path: Path, expectation: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        run(tmp_path, expectation)
    assert "\n" not in str(caught.value)


def test_an_unknown_or_broken_suite_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"validate\.suite: found 'prompt', .* use one of .*prompt_completion"):
        suite_path("prompt", tmp_path)
    (tmp_path / "own.json").write_text('{"expectations": [\n}')
    with pytest.raises(DataError, match=r"own\.json:2: invalid JSON"):
        read_suite(suite_path("own.json", tmp_path))
