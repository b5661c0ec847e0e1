"""`posttrain init` writes a spec that loads, and never over another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
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
