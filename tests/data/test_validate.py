"""Validation as a stage on the shipped rows: what is set aside, what is only warned about, and what Data Docs show."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from posttrain.artifacts import Done, Workspace
from posttrain.data.parquet import read_rows
from posttrain.data.validate import ValidateResult, validate
from posttrain.progress import silent
from posttrain.spec import DataSpec, TaskSpec, ValidateSpec

SHIPPED = Path(__file__).resolve().parents[2] / "data"
TASK = TaskSpec(kind="intent_slots", instruction="Answer with intent and slots as JSON.")
DATA = DataSpec(train="train.jsonl", test="test.jsonl", general="general.jsonl", general_held_out="held_out.jsonl")


def lines(name: str, every: int) -> list[bytes]:
    return gzip.decompress((SHIPPED / name).read_bytes()).splitlines()[::every]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every fortieth shipped row, and five known faults in the training file."""
    root = tmp_path_factory.mktemp("project")
    shipped = lines("voice_assistant/train.jsonl.gz", 40)
    train = [line for line in shipped if line.decode("utf-8", "ignore").encode() == line]
    test = lines("voice_assistant/test.jsonl.gz", 10)
    spoilt = train[1].replace(b"playlist", b"playl\xefst")
    other = json.loads(train[2])
    other["intent"] = "GetWeather"
    cut = json.loads(train[3])
    cut["data"] = []
    extra = [train[0], spoilt, json.dumps(other).encode(), json.dumps(cut).encode()]
    (root / "train.jsonl").write_bytes(b"\n".join([*train, *extra]))
    (root / "test.jsonl").write_bytes(b"\n".join([*test, test[0]]))
    (root / "general.jsonl").write_bytes(b"\n".join(lines("general/train.jsonl.gz", 10)))
    (root / "held_out.jsonl").write_bytes(b"\n".join(lines("general/held_out.jsonl.gz", 10)))
    return root


@pytest.fixture(scope="module")
def validated(project: Path) -> Done[ValidateResult]:
    return validate(DATA, TASK, ValidateSpec(), Workspace(project / "w"), silent, project)


def test_every_planted_fault_is_quarantined_under_its_rule(project: Path, validated: Done[ValidateResult]) -> None:
    total = len((project / "train.jsonl").read_bytes().splitlines())
    gone = [row for row in read_rows(validated.result.quarantine) if row["split"] == "train"]
    found = {(row["rule"], int(row["source"].split(":")[1]) - total) for row in gone}
    assert {("duplicate", -3), ("encoding", -2), ("conflict", -1), ("schema", 0)} <= found
    assert ("conflict", 3 - total) in found  # the other half of the conflict
    assert validated.result.rows_in - validated.result.rows_out == validated.result.quarantine.rows
    assert validated.result.train.rows == total - len(gone)


def test_measured_rows_are_warned_about_but_never_removed(project: Path, validated: Done[ValidateResult]) -> None:
    assert validated.result.test.rows == len((project / "test.jsonl").read_bytes().splitlines())
    counts = {(count.rule, count.severity): count for count in validated.result.rules if count.split == "test"}
    assert counts["duplicate", "warn"].rows >= 1
    assert "test.jsonl:71" in counts["duplicate", "warn"].example
    assert any(row["source"] == "test.jsonl:71" for row in read_rows(validated.result.warned))


def test_data_docs_show_each_split_name_the_bad_row_and_need_no_network(validated: Done[ValidateResult]) -> None:
    index = Path(validated.result.data_docs)
    text = index.read_text(encoding="utf-8")
    pages = [unquote(link) for link in re.findall(r'href="(validations/[^"]+)"', text)]
    checks = {Path(page).stem.split("-", 1)[1] for page in pages}
    assert {"train as received", "train after quarantine", "test as received"} <= checks
    assert all((index.parent / page).is_file() for page in pages)
    bad = next(row for row in read_rows(validated.result.quarantine) if row["rule"] == "encoding")
    page = next(index.parent.glob("validations/**/*train as received*.html")).read_text(encoding="utf-8")
    assert bad["id"] in page
    assert bad["source"] in page
    for every in index.parent.rglob("*.html"):
        html = every.read_text(encoding="utf-8")
        assert not re.search(r"""<script|<link|<img|(?:src|href)=["']https?:""", html), every
        for link in re.findall(r'href="([^"#]+)"', html):
            assert (every.parent / unquote(link)).exists(), (every, link)
