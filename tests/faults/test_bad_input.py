"""Bad input, through the real command: exit code 2, one line that says where and how to mend it, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app

POSTTRAIN = str(Path(sys.executable).parent / "posttrain")


@dataclass(frozen=True)
class Folder:
    """A small sound project, to be spoilt in one place."""

    root: Path

    def spec(self, **changes: Any) -> None:
        sections = {
            "name": "songs",
            "task": {"kind": "text"},
            "data": {"train": ["train.jsonl"], "test": ["test.jsonl"]},
            "base": {"model": "model"},
            **changes,
        }
        (self.root / "spec.yaml").write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")

    def rows(self, name: str, rows: list[dict[str, str]]) -> None:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (self.root / name).write_text(lines, encoding="utf-8")

    def model(self, config: dict[str, Any] | None = None, weights: bool = True) -> None:
        """A folder that passes the first look: a header of no tensors is a whole safetensors file."""
        folder = self.root / "model"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config or {"model_type": "llama"}), encoding="utf-8")
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
        if weights:
            (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = Folder(tmp_path)
    made.spec()
    for name, count in (("train.jsonl", 30), ("test.jsonl", 5)):
        made.rows(name, [{"prompt": f"{name} {n}: say it", "completion": f"this is answer {n}"} for n in range(count)])
    made.model()
    return made


def unknown_key(folder: Folder) -> None:
    folder.spec(sft={"learning_rte": 1e-4})


def missing_file(folder: Folder) -> None:
    (folder.root / "train.jsonl").rename(folder.root / "trian.jsonl")


def empty_file(folder: Folder) -> None:
    (folder.root / "train.jsonl").write_bytes(b"")


def wrong_encoding(folder: Folder) -> None:
    rows = [
        json.dumps({"prompt": f"où est {n}?", "completion": f"là, à côté de {n}"}, ensure_ascii=False) for n in range(9)
    ]
    (folder.root / "train.jsonl").write_bytes("\n".join(rows).encode("latin-1"))


def invalid_json(folder: Folder) -> None:
    path = folder.root / "train.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[6::3] = ['{"prompt": "broken'] * len(lines[6::3])  # more of them than are set aside one by one
    path.write_text("\n".join(lines), encoding="utf-8")


def missing_column(folder: Folder) -> None:
    folder.rows("train.jsonl", [{"utterance": f"question {n}", "answer": f"answer {n}"} for n in range(9)])


def no_weights(folder: Folder) -> None:
    (folder.root / "model" / "model.safetensors").unlink()


def pickled_weights(folder: Folder) -> None:
    (folder.root / "model" / "model.safetensors").rename(folder.root / "model" / "pytorch_model.bin")


def remote_code(folder: Folder) -> None:
    folder.model({"model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling.Own"}})


def unwritable_workspace(folder: Folder) -> None:
    # Below a file nobody can write, root included.
    (folder.root / "taken").write_text("a file", encoding="utf-8")
    folder.spec(resources={"workspace": "taken/workspace"})


def outside_path(folder: Folder) -> None:
    folder.spec(data={"train": ["../secret.jsonl"], "test": ["test.jsonl"]})


def outside_workspace(folder: Folder) -> None:
    folder.spec(resources={"workspace": "/var/tmp/elsewhere"})


def unknown_model(folder: Folder) -> None:
    folder.spec(base={"model": "./no-such-model"})


def no_spec(folder: Folder) -> None:
    (folder.root / "spec.yaml").unlink()


SPOILT: list[tuple[Callable[[Folder], None], tuple[str, ...]]] = [
    (unknown_key, ("spec.yaml:", "sft.learning_rte", "learning_rate")),
    (missing_file, ("data.train[0]", "train.jsonl", "trian.jsonl")),
    (empty_file, ("train.jsonl", "empty")),
    (wrong_encoding, ("train.jsonl:1", "utf-8", "encoding")),
    (invalid_json, ("train.jsonl:7", "JSON")),
    (missing_column, ("train.jsonl", "completion", "answer")),
    (no_weights, ("model", "safetensors")),
    (pickled_weights, ("pytorch_model.bin", "save_pretrained")),
    (remote_code, ("model", "base.trust_remote_code")),
    (unwritable_workspace, ("taken", "resources.workspace")),
    (outside_path, ("spec.yaml:", "data.train[0]", "'..'")),
    (outside_workspace, ("spec.yaml:", "resources.workspace", "inside the project")),
    (unknown_model, ("base.model", "no-such-model")),
    (no_spec, ("spec.yaml", "no such file")),
]


@pytest.mark.parametrize("command", ["run", "plan", "validate"])
@pytest.mark.parametrize(("spoil", "expected"), SPOILT, ids=[spoil.__name__ for spoil, _ in SPOILT])
def test_bad_input_is_one_line_and_nothing_is_written(
    folder: Folder, command: str, spoil: Callable[[Folder], None], expected: tuple[str, ...]
) -> None:
    spoil(folder)
    before = folder.files()
    done = CliRunner().invoke(app, [command, "spec.yaml"])
    assert done.exit_code == 2, done.output
    _is_one_line(done.stderr, expected)
    assert done.stdout == ""
    assert folder.files() == before


def _is_one_line(text: str, expected: tuple[str, ...]) -> None:
    assert text.startswith("error: ")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    for part in expected:
        assert part in text


def test_several_mistakes_are_told_at_once(folder: Folder) -> None:
    folder.spec(sft={"learning_rte": 1e-4, "method": "lara"}, resources={"workspace": "../x"})
    done = CliRunner().invoke(app, ["run", "spec.yaml"])
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: spec.yaml:") for line in lines)


def _unusable(folder: Folder) -> None:
    """Every training row is UTF-8 that somebody read as Latin-1."""
    folder.rows("train.jsonl", [{"prompt": "who?", "completion": "My fianc\u00c3\u00a9, she said."} for _ in range(20)])


def test_no_rows_left_by_validate(folder: Folder) -> None:
    _unusable(folder)
    before = folder.files()
    done = CliRunner().invoke(app, ["validate", "spec.yaml"])
    assert done.exit_code == 2, done.output
    _is_one_line(done.stderr, ("data.train", "0 of 20 rows", "encoding"))
    assert folder.files() == before


def test_no_rows_left_in_a_real_run(folder: Folder) -> None:
    """Prefect has started by then; the refused run takes away its log, and MLflow's store was never made."""
    _unusable(folder)
    before = folder.files()
    done = subprocess.run(
        [POSTTRAIN, "run", "spec.yaml"],
        cwd=folder.root,
        env={**_environment(), "PREFECT_HOME": str(folder.root.parent / f"{folder.root.name}-prefect")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    _is_one_line(done.stderr, ("data.train", "0 of 20 rows", "encoding"))
    assert folder.files() == before
    assert sorted(path.name for path in folder.root.iterdir() if path.is_dir()) == ["model"]


def _environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))}
