"""Curation as a stage, on the shipped SNIPS rows."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest

from posttrain.artifacts import Done, Workspace
from posttrain.data.curate import CurateResult, curate
from posttrain.data.parquet import read_rows
from posttrain.data.validate import ValidateResult, validate
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
