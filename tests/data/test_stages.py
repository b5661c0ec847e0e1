"""Validation and curation as stages, on the shipped SNIPS rows and on small spoilt ones."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from posttrain.artifacts import Done, Workspace
from posttrain.data.curate import CurateResult, curate
from posttrain.data.parquet import read_rows
from posttrain.data.validate import ValidateResult, validate
from posttrain.errors import DataError, SpecError
from posttrain.progress import silent
from posttrain.spec import CurateSpec, DataSpec, TaskSpec, ValidateSpec

SHIPPED = Path(__file__).resolve().parents[2] / "data"
TASK = TaskSpec(kind="intent_slots", instruction="Answer with intent and slots as JSON.")
DATA = DataSpec(train="train.jsonl", test="test.jsonl", general="general.jsonl", general_held_out="held_out.jsonl")


def lines(name: str, every: int) -> list[bytes]:
    return gzip.decompress((SHIPPED / name).read_bytes()).splitlines()[::every]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every tenth shipped row, and five known faults in the training file."""
    root = tmp_path_factory.mktemp("project")
    shipped = lines("voice_assistant/train.jsonl.gz", 10)
    train = [line for line in shipped if line.decode("utf-8", "ignore").encode() == line]
    test = lines("voice_assistant/test.jsonl.gz", 10)
    spoilt = train[1].replace(b"playlist", b"playl\xefst")
    other = json.loads(train[2])
    other["intent"] = "GetWeather"
    cut = json.loads(train[3])
    cut["data"] = []
    extra = [train[0], spoilt, json.dumps(other).encode(), json.dumps(cut).encode(), test[5]]
    (root / "train.jsonl").write_bytes(b"\n".join([*train, *extra]))
    (root / "test.jsonl").write_bytes(b"\n".join([*test, test[0]]))
    (root / "general.jsonl").write_bytes(b"\n".join(lines("general/train.jsonl.gz", 10)))
    (root / "held_out.jsonl").write_bytes(b"\n".join(lines("general/held_out.jsonl.gz", 10)))
    return root


@pytest.fixture(scope="module")
def validated(project: Path) -> Done[ValidateResult]:
    return validate(DATA, TASK, ValidateSpec(), Workspace(project / "w"), silent, project)


@pytest.fixture(scope="module")
def curated(project: Path, validated: Done[ValidateResult]) -> Done[CurateResult]:
    spec = CurateSpec(validation_rows=70, general_share=0.05)
    return curate(validated.result, TASK, spec, Workspace(project / "w"), silent)


def test_every_planted_fault_is_quarantined_under_its_rule(project: Path, validated: Done[ValidateResult]) -> None:
    total = len((project / "train.jsonl").read_bytes().splitlines())
    found = {
        (row["rule"], int(row["source"].split(":")[1]) - total)
        for row in read_rows(validated.result.quarantine)
        if row["split"] == "train"
    }
    assert {("duplicate", -4), ("encoding", -3), ("conflict", -2), ("schema", -1)} <= found
    assert ("conflict", 3 - total) in found  # the other half of the conflict
    assert validated.result.rows_in - validated.result.rows_out == validated.result.quarantine.rows
    gone = [row for row in read_rows(validated.result.quarantine) if row["split"] == "train"]
    assert validated.result.train.rows == total - len(gone)


def test_measured_rows_are_warned_about_but_never_removed(project: Path, validated: Done[ValidateResult]) -> None:
    assert validated.result.test.rows == len((project / "test.jsonl").read_bytes().splitlines())
    counts = {(count.rule, count.severity): count for count in validated.result.rules if count.split == "test"}
    assert counts["duplicate", "warn"].rows >= 1
    assert "test.jsonl:71" in counts["duplicate", "warn"].example
    assert any(row["source"] == "test.jsonl:71" for row in read_rows(validated.result.warned))


def test_data_docs_show_each_split_and_name_the_bad_row(validated: Done[ValidateResult]) -> None:
    index = Path(validated.result.data_docs)
    assert index.is_file()
    text = index.read_text(encoding="utf-8")
    assert "http" not in text  # readable offline
    pages = [unquote(link) for link in re.findall(r'href="(validations/[^"]+)"', text)]
    checks = {Path(page).stem.split("-", 1)[1] for page in pages}
    assert {"train as received", "train after quarantine", "test as received"} <= checks
    assert all((index.parent / page).is_file() for page in pages)
    bad = next(row for row in read_rows(validated.result.quarantine) if row["rule"] == "encoding")
    page = next(index.parent.glob("validations/**/*train as received*.html")).read_text(encoding="utf-8")
    assert bad["id"] in page
    assert bad["source"] in page


def test_an_unchanged_stage_is_found_again_and_a_changed_row_is_not(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(project, root)
    again = validate(DATA, TASK, ValidateSpec(), Workspace(root / "w"), silent, root)
    assert again.reused
    (root / "general.jsonl").write_bytes(b"\n".join((root / "general.jsonl").read_bytes().splitlines()[1:]))
    changed = validate(DATA, TASK, ValidateSpec(), Workspace(root / "w"), silent, root)
    assert not changed.reused
    assert changed.fingerprint != again.fingerprint


def test_curation_drops_with_reasons_and_loses_no_row(
    curated: Done[CurateResult], validated: Done[ValidateResult], project: Path
) -> None:
    result = curated.result
    train, validation = read_rows(result.train), read_rows(result.validation)
    dropped = read_rows(result.dropped)
    domain = [row for row in train if row["group"] != "general"]
    gone = [row for row in dropped if row["split"] == "train"]
    assert len(domain) + len(validation) + len(gone) == validated.result.train.rows
    assert [step.step for step in result.funnel] == ["clean", "exact", "near", "decontaminate", "split", "mix"]
    assert all(before.rows_out == after.rows_in for before, after in pairwise(result.funnel))
    assert result.funnel[-1].rows_out == len(train)
    leaked = len((project / "train.jsonl").read_bytes().splitlines())  # its last line is a test row
    assert ("contaminated", f"train.jsonl:{leaked}") in {(row["rule"], row["source"]) for row in gone}
    assert len(validation) == 70


def test_rows_carry_their_system_message_and_group(curated: Done[CurateResult]) -> None:
    train = read_rows(curated.result.train)
    general = [row for row in train if row["group"] == "general"]
    assert 0.04 < len(general) / len(train) < 0.06
    assert {row["system"] for row in general} == {""}
    assert {row["system"] for row in train if row["group"] != "general"} == {TASK.instruction}
    for ref in (curated.result.validation, curated.result.test):
        assert all(row["system"] == TASK.instruction and row["group"] for row in read_rows(ref))
    assert curated.result.general_held_out is not None
    assert {row["system"] for row in read_rows(curated.result.general_held_out)} == {""}


def test_no_test_prompt_is_left_in_training(curated: Done[CurateResult]) -> None:
    test = {row["prompt"].casefold() for row in read_rows(curated.result.test)}
    seen = read_rows(curated.result.train) + read_rows(curated.result.validation)
    assert test.isdisjoint(row["prompt"].casefold() for row in seen)


def test_the_same_inputs_give_the_same_bytes(curated: Done[CurateResult], project: Path, tmp_path: Path) -> None:
    spec = CurateSpec(validation_rows=70, general_share=0.05)
    first = validate(DATA, TASK, ValidateSpec(), Workspace(project / "w"), silent, project)
    again = curate(first.result, TASK, spec, Workspace(tmp_path), silent)
    assert not again.reused
    for name in ("train", "validation", "test", "general_held_out", "dropped"):
        assert getattr(again.result, name).fingerprint == getattr(curated.result, name).fingerprint, name


# --- refusals ------------------------------------------------------------------------------------------------


def spoilt(root: Path, bad: int, good: int) -> DataSpec:
    rows = [{"prompt": f"play {number}", "completion": '{"intent": "Play", "slots": {}}'} for number in range(good)]
    rows += [{"prompt": f"stop {number}", "completion": "nothing"} for number in range(bad)]
    (root / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "test.jsonl").write_text(json.dumps({"prompt": "t", "completion": '{"intent": "Play", "slots": {}}'}))
    return DataSpec(train="rows.jsonl", test="test.jsonl")


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
    ],
)
def test_too_many_bad_rows_stop_the_run_and_leave_nothing(
    tmp_path: Path, bad: int, good: int, spec: ValidateSpec, expected: str
) -> None:
    data = spoilt(tmp_path, bad, good)
    with pytest.raises(DataError) as caught:
        validate(data, TASK, spec, Workspace(tmp_path / "w"), silent, tmp_path)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "w").exists()


def test_a_severity_of_no_rule_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"validate\.severity\.duplicates: no such rule; did you mean duplicate\?"):
        validate(
            spoilt(tmp_path, 0, 2),
            TASK,
            ValidateSpec(severity={"duplicates": "warn"}),
            Workspace(tmp_path / "w"),
            silent,
            tmp_path,
        )
