"""`posttrain init` writes a spec that loads, and never over another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flows.cli import app
from posttrain.data.look import look
from posttrain.spec import load


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"play song {n}", "completion": json.dumps({"intent": "Play", "slots": {}})} for n in range(9)]
    (tmp_path / "songs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def test_the_spec_loads_and_names_what_was_seen(project: Path) -> None:
    done = CliRunner().invoke(app, ["init", "songs.jsonl"])
    assert done.exit_code == 0, done.output
    target = project / "pipelines" / "songs.yaml"
    spec = load(target).spec
    assert (spec.name, spec.task.kind, spec.data.train[0].path) == ("songs", "intent_slots", "songs.jsonl")
    assert "9 rows" in done.output


TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "good day to you"}]
SAID = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "good day to you"}]
SEEN: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": "hi", "completion": "good day to you"}, "prompt_completion", "prompt_completion"),
    ({"question": "hi", "answer": "good day to you"}, "prompt_completion", "prompt_completion"),
    ({"instruction": "hi", "input": "", "output": "good day to you"}, "alpaca", "prompt_completion"),
    ({"messages": TURNS}, "messages", "messages"),
    ({"conversations": SAID}, "sharegpt", "messages"),
    ({"intent": "Greet", "data": [{"text": "hi"}]}, "intent_slots", "prompt_completion"),
    ({"text": "It rained all day. We left."}, "text", "prompt_completion"),
    ({"prompt": "hi", "chosen": "good day", "rejected": "go away"}, "preference", "preference"),
    ({"conversations": SAID[:1], "chosen": SAID[1], "rejected": SAID[1]}, "preference", "preference"),
    ({"chosen": "\n\nHuman: hi\n\nAssistant: a", "rejected": "\n\nHuman: hi\n\nAssistant: b"}, "preference",
     "preference"),
    ({"prompt": "hi", "output_1": "a", "output_2": "b", "preference": 1.0}, "comparison", "preference"),
    ({"messages": TURNS, "label": True}, "unpaired", "unpaired"),
    ({"prompt": "hi", "completion": "good day", "rating_1": 4, "rating_2": 5}, "rating", "rating"),
    ({"prompt": "hi", "completion": "good day", "annotator": "ann", "rating": 4}, "rating", "rating"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "format", "kind"), SEEN, ids=[" ".join(row) for row, _, _ in SEEN])
def test_a_spec_is_written_for_every_format_and_reads_the_file(
    project: Path, row: dict[str, Any], format: str, kind: str
) -> None:
    (project / "rows.jsonl").write_text((json.dumps(row) + "\n") * 3, encoding="utf-8")
    done = CliRunner().invoke(app, ["init", "rows.jsonl"])
    assert done.exit_code == 0, done.output
    rows = 1 if "annotator" in row else 3
    assert f"looked at rows.jsonl: {rows} rows, format {format}, {kind} rows, columns {', '.join(row)}" in done.output
    spec = load(project / "pipelines" / "rows.yaml").spec
    assert spec.data.train[0].format == format
    (seen,) = [look(source, project) for source in spec.data.train]
    assert (seen.format, seen.kind) == (format, kind)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.arrow", "rows.jsonl.zst"])
def test_a_spec_is_written_for_every_kind_of_file(project: Path, name: str) -> None:
    rows = pl.DataFrame({"prompt": ["hi"] * 5, "completion": ["good day to you"] * 5})
    match name.split(".", 1)[1]:
        case "csv":
            rows.write_csv(project / name)
        case "parquet":
            rows.write_parquet(project / name)
        case "arrow":
            rows.write_ipc(project / name)
        case _:
            text = rows.write_ndjson().encode()
            (project / name).write_bytes(pa.Codec("zstd").compress(text, asbytes=True))
    done = CliRunner().invoke(app, ["init", name])
    assert done.exit_code == 0, done.output
    assert "5 rows" in done.output
    spec = load(project / "pipelines" / "rows.yaml").spec
    assert (spec.data.train[0].path, spec.data.test[0].path) == (name, name.replace("rows.", "rows_test."))


def test_a_folder_with_splits_trains_on_one_and_tests_on_the_other(project: Path) -> None:
    (project / "set").mkdir()
    for name, count in (("train-0", 4), ("train-1", 5), ("test", 2)):
        (project / "set" / f"{name}.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * count)
    done = CliRunner().invoke(app, ["init", "set"])
    assert done.exit_code == 0, done.output
    assert "looked at set: 2 files, 9 rows" in done.output
    data = load(project / "pipelines" / "set.yaml").spec.data
    assert [(source.path, source.split) for source in (*data.train, *data.test)] == [("set", "train"), ("set", "test")]


def test_a_folder_of_one_split_is_not_its_own_test(project: Path) -> None:
    (project / "set").mkdir()
    (project / "set" / "test.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    assert CliRunner().invoke(app, ["init", "set"]).exit_code == 0
    data = load(project / "pipelines" / "set.yaml").spec.data
    assert (data.train[0].path, data.test[0].path) == ("set", "set_test")


def test_an_address_is_written_as_it_was_given(project: Path) -> None:
    fsspec.filesystem("memory").pipe("/inbox/train.jsonl", b'{"prompt": "a", "completion": "b"}\n' * 3)
    done = CliRunner().invoke(app, ["init", "memory://inbox/train.jsonl"])
    assert done.exit_code == 0, done.output
    data = load(project / "pipelines" / "train.yaml").spec.data
    assert (data.train[0].path, data.test[0].path) == ("memory://inbox/train.jsonl", "data/test.jsonl")


def test_a_spec_that_is_there_is_kept_unless_forced(project: Path) -> None:
    target = project / "mine.yaml"
    target.write_text("mine", encoding="utf-8")
    refused = CliRunner().invoke(app, ["init", "songs.jsonl", "--out", "mine.yaml"])
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert target.read_text(encoding="utf-8") == "mine"
    forced = CliRunner().invoke(app, ["init", "songs.jsonl", "--out", "mine.yaml", "--force"])
    assert forced.exit_code == 0
    assert load(target).spec.name == "songs"


def test_a_missing_file_writes_nothing(project: Path) -> None:
    done = CliRunner().invoke(app, ["init", "sogns.jsonl"])
    assert done.exit_code == 2
    assert "sogns.jsonl" in done.stderr
    assert not (project / "pipelines").exists()
