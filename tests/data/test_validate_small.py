"""Validation as a stage on small spoilt sets: suites, thresholds, restored rows, large splits, engines."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from expectations import FOLDER
from expectations.suite import read_suite
from posttrain.artifacts import Workspace
from posttrain.data.account.row_verdict import RowVerdict, content
from posttrain.data.account.verdicts import Verdicts
from posttrain.data.parquet import read_rows
from posttrain.data.validate import ValidateResult, sample, validate
from posttrain.data.validate.sample import AT, KEPT, RULE, Sample
from posttrain.data.validate.suites import suite_of
from posttrain.errors import DataError, SpecError
from posttrain.progress import silent
from posttrain.spec import DataSpec, TaskSpec, ValidateSpec

TASK = TaskSpec(kind="intent_slots")
TEXT = TaskSpec(kind="text")
GOOD = "A sentence that is long enough and says something."
PLAY = '{"intent": "Play", "slots": {}}'


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path.name


def labelled(root: Path, bad: int, good: int) -> DataSpec:
    rows = [{"prompt": f"play {number}", "completion": PLAY} for number in range(good)]
    rows += [{"prompt": f"stop {number}", "completion": "nothing"} for number in range(bad)]
    test = write(root / "test.jsonl", [{"prompt": "t", "completion": PLAY}])
    return DataSpec(train=write(root / "rows.jsonl", rows), test=test)


def run(root: Path, data: DataSpec, task: TaskSpec = TASK, **given: Any) -> ValidateResult:
    spec = given.pop("spec", ValidateSpec())
    return validate(data, task, spec, Workspace(root / "w"), silent, root, **given).result


def small_suite(root: Path, *more: dict[str, Any], rules: tuple[str, ...] = ("length", "duplicate")) -> str:
    """Few rules of the shipped suite, here with quarantine, and `more`: Great Expectations is quick with few."""
    shipped = read_suite(FOLDER / "prompt_completion.json")["expectations"]
    few = [{**item, "meta": {"rule": item["meta"]["rule"]}} for item in shipped if item["meta"]["rule"] in rules]
    (root / "small.json").write_text(json.dumps({"name": "small", "expectations": [*few, *more]}))
    return "small.json"


def prose(root: Path, rows: list[dict[str, Any]]) -> DataSpec:
    return DataSpec(train=write(root / "rows.jsonl", rows), test=write(root / "test.jsonl", rows[:1]))


def answers(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"q{number}", "completion": f"{GOOD} {number}"} for number in range(count)]


def aside(result: ValidateResult) -> list[tuple[str, str, str]]:
    """(split, line, rule) of every quarantined row."""
    gone = read_rows(result.quarantine)
    return sorted((row["split"], row["source"].rpartition(":")[2], row["rule"]) for row in gone)


@pytest.mark.parametrize(
    ("bad", "good", "spec", "expected"),
    [
        (
            2,
            8,
            ValidateSpec(),
            "data.train: 2 of 10 rows (20.0%) would be quarantined (label_json 2; first rows.jsonl:9: ",
        ),
        (
            3,
            0,
            ValidateSpec(max_quarantined=1),
            "data.train: 0 of 3 rows are left after validation (label_json 3; first ",
        ),
        (
            1,
            99,
            ValidateSpec(severity={"label_json": "stop"}),
            "rows.jsonl:100: breaks rule label_json (found not JSON",
        ),
        (
            2,
            98,
            ValidateSpec(max_share={"label_json": 0.01}),
            "data.train: 2 of 100 rows (2.0%) break rule label_json (first rows.jsonl:99: not JSON",
        ),
        (
            2,
            98,
            ValidateSpec(max_share={"label_json": 0.01}, severity={"label_json": "warn"}),
            "data.train: 2 of 100 rows (2.0%) break rule label_json (first rows.jsonl:99: not JSON",
        ),
    ],
)
def test_too_many_bad_rows_stop_the_run_and_leave_nothing(
    tmp_path: Path, bad: int, good: int, spec: ValidateSpec, expected: str
) -> None:
    spec = spec.model_copy(update={"suite": small_suite(tmp_path, rules=("label_json",))})
    with pytest.raises(DataError) as caught:
        run(tmp_path, labelled(tmp_path, bad, good), spec=spec)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("setting", ["severity", "max_share"])
def test_a_rule_that_does_not_exist_suggests_the_nearest(tmp_path: Path, setting: str) -> None:
    spec = ValidateSpec(**{setting: {"duplicates": "warn" if setting == "severity" else 0.1}})
    with pytest.raises(SpecError, match=rf"validate\.{setting}\.duplicates: no such rule; did you mean duplicate\?"):
        run(tmp_path, labelled(tmp_path, 0, 2), spec=spec)


def test_an_unchanged_stage_is_found_again_and_a_changed_row_or_suite_is_not(tmp_path: Path) -> None:
    data, workspace = prose(tmp_path, answers(9)), Workspace(tmp_path / "w")
    spec = ValidateSpec(suite=small_suite(tmp_path, rules=("duplicate",)))
    first = validate(data, TEXT, spec, workspace, silent, tmp_path)
    assert validate(data, TEXT, spec, workspace, silent, tmp_path).reused
    digest = suite_of("train", "prompt_completion", TEXT, spec, tmp_path).digest
    small_suite(tmp_path, rules=("length",))
    assert suite_of("train", "prompt_completion", TEXT, spec, tmp_path).digest != digest
    prose(tmp_path, answers(8))
    changed = validate(data, TEXT, spec, workspace, silent, tmp_path)
    assert not changed.reused
    assert changed.fingerprint != first.fingerprint


def test_pairs_are_held_against_their_own_suite(tmp_path: Path) -> None:
    pairs = [{"prompt": f"q{number}", "chosen": f"{GOOD} {number}", "rejected": "No."} for number in range(60)]
    pairs[7]["rejected"] = pairs[7]["chosen"]
    pairs[9] = {"prompt": "q8", "chosen": "No.", "rejected": f"{GOOD} 8"}  # line 9, the other way round
    prompts = [{"prompt": f"q{number}", "completion": f"{GOOD} {number}"} for number in range(3)]
    data = DataSpec(
        train=write(tmp_path / "train.jsonl", prompts),
        test=write(tmp_path / "test.jsonl", prompts[:1]),
        preference=write(tmp_path / "pairs.jsonl", pairs),
    )
    result = run(tmp_path, data, TEXT, spec=ValidateSpec(max_quarantined=0.1))
    assert aside(result) == [
        ("preference", "10", "reversed"),
        ("preference", "8", "same_sides"),
        ("preference", "9", "reversed"),
    ]
    assert result.preference is not None
    kept = read_rows(result.preference)
    assert len(kept) == 57
    assert set(kept[0]) >= {"id", "source", "prompt", "chosen", "rejected"}
    assert "completion" not in kept[0]
    assert set(read_rows(result.quarantine)[0]) >= {"completion", "chosen", "rule", "value", "threshold", "twin"}


def test_a_suite_can_be_named_for_one_split(tmp_path: Path) -> None:
    no_seven = {
        "name": "own",
        "expectations": [
            {
                "type": "expect_column_values_to_not_match_regex",
                "kwargs": {"column": "prompt", "regex": "7$"},
                "meta": {"rule": "no_seven"},
            }
        ],
    }
    (tmp_path / "own.json").write_text(json.dumps(no_seven))
    data = labelled(tmp_path, 0, 50)
    result = run(tmp_path, data, spec=ValidateSpec(suite={"train": "own.json"}, max_quarantined=0.2))
    assert aside(result) == [("train", str(number), "no_seven") for number in (18, 28, 38, 48, 8)]


def test_a_restored_row_goes_on_and_is_listed(tmp_path: Path) -> None:
    rows = answers(60)
    rows[5]["completion"] = "short"
    rows[6]["completion"] = "brief"
    rows[8] = rows[7]
    data = prose(tmp_path, rows)
    spec = ValidateSpec(max_quarantined=0.5, suite=small_suite(tmp_path))
    first = run(tmp_path, data, TEXT, spec=spec)
    assert aside(first) == [("train", "6", "length"), ("train", "7", "length"), ("train", "9", "duplicate")]
    words = [
        RowVerdict(
            id=row["id"], content=content(row), rule=row["rule"], verdict="restore", by="ann", at="2026-01-01T00:00:00Z"
        )
        for row in read_rows(first.quarantine)
        if row["source"].endswith((":6", ":9"))
    ]
    again = run(tmp_path, data, TEXT, spec=spec, verdicts=Verdicts.of(words))
    assert aside(again) == [("train", "7", "length")]
    warned = {(row["source"], row["rule"]) for row in read_rows(again.warned) if row["split"] == "train"}
    assert warned == {("rows.jsonl:6", "length"), ("rows.jsonl:9", "duplicate")}


def test_secrets_are_set_aside_and_shown_nowhere_but_in_the_quarantine(tmp_path: Path) -> None:
    token = "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    rows = answers(30)
    rows[3] |= {"prompt": f"use {token}", "completion": f"Use {token} now"}
    shipped = read_suite(FOLDER / "prompt_completion.json")["expectations"]
    secrets = next(item for item in shipped if item["meta"]["rule"] == "secrets")
    result = run(tmp_path, prose(tmp_path, rows), TEXT, spec=ValidateSpec(suite=small_suite(tmp_path, secrets)))
    assert aside(result) == [("train", "4", "secrets")]
    assert token in read_rows(result.quarantine)[0]["completion"]
    assert token not in result.model_dump_json()
    pages = [page.read_text(encoding="utf-8") for page in Path(result.data_docs).parent.rglob("*.html")]
    assert any("rows.jsonl:4" in page for page in pages)
    assert not any(token in page for page in pages)


def test_a_column_that_only_one_source_keeps_is_empty_for_the_other(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{**row, "topic": "jazz"} for row in answers(3)])
    write(tmp_path / "b.jsonl", [{"prompt": "r", "completion": GOOD, "level": "2"}])
    sources = [{"path": "a.jsonl", "keep": ["topic"]}, {"path": "b.jsonl", "keep": "level"}]
    data = DataSpec(train=sources, test=write(tmp_path / "test.jsonl", answers(1)))
    train = read_rows(run(tmp_path, data, TEXT, spec=ValidateSpec(suite=small_suite(tmp_path))).train)
    assert [(row["topic"], row["level"]) for row in train] == [("jazz", "")] * 3 + [("", "2")]


def test_the_task_schema_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "person.json").write_text('{"type": "object", "required": ["name"]}')
    rows = [{"prompt": f"q{number}", "completion": json.dumps({"name": str(number)})} for number in range(30)]
    rows[3]["completion"] = '{"nmae": "x"}'
    data = prose(tmp_path, rows)
    spec = ValidateSpec(suite=small_suite(tmp_path, rules=("label_json",)))
    result = run(tmp_path, data, TaskSpec(kind="extraction", json_schema="person.json"), spec=spec)
    assert aside(result) == [("train", "4", "label_json")]
    with pytest.raises(DataError, match=r"task\.json_schema: nobody\.json cannot be read as JSON"):
        run(tmp_path, data, TaskSpec(kind="extraction", json_schema="nobody.json"))


# --- many rows -----------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Splits count as large from 51 rows on."""
    for name, value in (("ALL", 50), ("BAD", 2), ("OTHERS", 20)):
        monkeypatch.setattr(sample, name, value)
        monkeypatch.setattr(f"posttrain.data.validate.assertion.{name}", value, raising=False)
        monkeypatch.setattr(f"posttrain.data.validate.settle.{name}", value, raising=False)
    return


@pytest.mark.usefixtures("few")
def test_of_a_large_split_the_bad_rows_and_a_sample_are_asserted(tmp_path: Path) -> None:
    rows = answers(300)
    for number in (10, 20, 30):
        rows[number]["completion"] = "short"
    rows[41] = rows[40]
    data = prose(tmp_path, rows)
    result = run(tmp_path, data, TEXT, spec=ValidateSpec(suite=small_suite(tmp_path)))
    assert aside(result) == [
        ("train", "11", "length"),
        ("train", "21", "length"),
        ("train", "31", "length"),
        ("train", "42", "duplicate"),
    ]
    index = Path(result.data_docs)
    # Two of the short rows, twenty others, and of the twins those that are not among the twenty.
    checked = int(re.search(r"<td>(\d+) of 300 rows</td>", index.read_text(encoding="utf-8"))[1])  # type: ignore[index]
    assert 22 <= checked <= 24
    page = next(index.parent.glob("validations/**/*train as received*.html")).read_text(encoding="utf-8")
    assert "rows.jsonl:11" in page
    assert "rows.jsonl:42" in page
    after = next(index.parent.glob("validations/**/*train after quarantine*.html")).read_text(encoding="utf-8")
    assert "rows.jsonl:42" not in after


JSON_PARSEABLE = {
    "type": "expect_column_values_to_be_json_parseable",  # has no twin
    "kwargs": {"column": "completion"},
    "meta": {"rule": "parseable"},
}


@pytest.mark.usefixtures("few")
def test_what_only_great_expectations_can_decide_is_asked_of_every_row(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"expectations": [JSON_PARSEABLE]}))
    rows = [{"prompt": f"q{number}", "completion": "{}" if number % 30 else "{"} for number in range(200)]
    data = prose(tmp_path, rows[::-1])
    result = run(tmp_path, data, TEXT, spec=ValidateSpec(suite="own.json"))
    # numbers 0, 30, 60, … stand in lines 200, 170, 140, …
    assert {int(line) for _, line, _ in aside(result)} == {200, 170, 140, 110, 80, 50, 20}


class Elsewhere:
    """An engine like those of other processes: all that goes there, and all that comes back, is pickled."""

    def map(self, function: Any, items: Any) -> Iterator[Any]:
        for item in items:
            there, given = pickle.loads(pickle.dumps((function, item)))
            yield pickle.loads(pickle.dumps(there(given)))


def test_the_engine_makes_no_difference(tmp_path: Path) -> None:
    rows = answers(60)
    rows[50] = rows[40]
    rows[51]["completion"] = "short"
    spec = ValidateSpec(max_quarantined=1, suite=small_suite(tmp_path))
    data = prose(tmp_path, rows)
    here, elsewhere = (
        validate(data, TEXT, spec, Workspace(tmp_path / name), silent, tmp_path, engine).result
        for name, engine in (("here", None), ("elsewhere", Elsewhere()))
    )
    assert aside(here) == [("train", "51", "duplicate"), ("train", "52", "length")]
    for part in ("train", "quarantine", "warned"):
        assert getattr(here, part).fingerprint == getattr(elsewhere, part).fingerprint


def test_a_sample_does_not_depend_on_batches(few: None) -> None:
    rows = pl.DataFrame({"id": [f"{number:x}" for number in range(1000)]})
    rules = pl.Series(["bad" if number % 100 == 50 else "" for number in range(1000)])
    positions = pl.Series(range(1000)).to_numpy()

    def drawn(size: int) -> pl.DataFrame:
        made = Sample(["id"])
        for start in range(0, 1000, size):
            part = slice(start, start + size)
            made.add(rows[part], positions[part], positions[part], rules[part])
        return made.frame()

    assert drawn(1000).equals(drawn(7))
    assert drawn(7).height == 22
    assert drawn(7).filter(pl.col(RULE) == "bad")[AT].to_list() == [50, 150]
    assert set(drawn(7).columns) == {"id", AT, KEPT, RULE}
