"""What is wrong with files that measuring reads is told before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posttrain.errors import DataError, SpecError
from posttrain.models import machine
from posttrain.preflight import check

SPEC = """\
name: small
task: {kind: text}
data: {train: train.jsonl, test: test.jsonl}
"""


@pytest.mark.parametrize(
    ("evaluate", "name", "text", "said"),
    [
        ("{metrics: own.py}", "own.py", "@metric('x')\ndef x(): 1 / 0\nraise OSError('no')", r"own\.py: does not run"),
        (
            "{safety: {prompts: own.csv}}",
            "own.csv",
            "prompt,label\nx,dangerous\n",
            r"own\.csv:1: label: found 'dangerous'",
        ),
    ],
)
def test_the_users_files_are_looked_into_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: str, name: str, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"prompt": split, "completion": "An answer of its own."}))
    (tmp_path / name).write_text(text)
    (tmp_path / "spec.yaml").write_text(f"{SPEC}evaluate: {evaluate}\n")
    with pytest.raises(DataError, match=said):
        check(tmp_path / "spec.yaml")
    assert not (tmp_path / ".posttrain").exists()


def test_a_chat_without_a_judge_is_told_what_it_is_measured_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"prompt": split, "completion": "An answer of its own."}))
    (tmp_path / "spec.yaml").write_text(SPEC.replace("text", "chat"))
    (note,) = check(tmp_path / "spec.yaml").notes
    assert "without evaluate.judge: answers are measured by their likeness" in note
    (tmp_path / "spec.yaml").write_text(SPEC)
    assert not check(tmp_path / "spec.yaml").notes


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize(
    ("sft", "cure"),
    [("method: qlora", r"pip install 'posttrain\[qlora\]'"), ("padding_free: true", "pip install flash-attn")],
)
def test_what_only_a_gpu_can_do_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_gpu: bool, sft: str, cure: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "has_cuda_gpu", lambda: has_gpu)
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"prompt": split, "completion": "An answer of its own."}))
    (tmp_path / "spec.yaml").write_text(f"{SPEC}sft: {{{sft}}}\n")
    with pytest.raises(SpecError, match=cure if has_gpu else "this machine has none") as refused:
        check(tmp_path / "spec.yaml")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / ".posttrain").exists()
