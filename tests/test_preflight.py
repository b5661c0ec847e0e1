"""What is wrong with files that measuring reads is told before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posttrain.errors import DataError, ModelError, SpecError
from posttrain.models import machine
from posttrain.models.load import TINY
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


ONLINE = """\
name: small
task: {kind: text}
data: {train: train.jsonl, test: test.jsonl, preference: pairs.jsonl}
align: {method: grpo}
"""


def online_project(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str, start: str = ONLINE) -> Path:
    """A spec whose reward model is learnt from one pair, with `more` below it."""
    monkeypatch.chdir(folder)
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text(json.dumps({"prompt": split, "completion": "An answer of its own."}))
    pair = {"prompt": "Which one?", "chosen": "This is better.", "rejected": "No."}
    (folder / "pairs.jsonl").write_text(json.dumps(pair))
    (folder / "spec.yaml").write_text(f"{start}{more}\n")
    return folder / "spec.yaml"


def model_folder(folder: Path, weights: bool = True, **changed: object) -> None:
    """The embedded base's configuration with these values, and weights that nobody reads."""
    config = json.loads((TINY / "config.json").read_text(encoding="utf-8"))
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**config, **changed}))
    if weights:
        (folder / "model.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("reward_model: {model: nowhere}", r"^reward_model\.model: folder nowhere does not exist; give"),
        ("reward_model: {model: bare}", r"^reward_model\.model: bare has no \*\.safetensors"),
        ("reward_model: {model: large}", r"large: found .* parameters, more than .*reward_model\.allow_larger: true"),
        ("guards: {hacking: {reward_model: nowhere}}", r"^guards\.hacking\.reward_model: folder nowhere does not"),
        ("guards: {hacking: {reward_model: bare}}", r"^guards\.hacking\.reward_model: bare has no \*\.safetensors"),
        ("guards: {hacking: {reward_model: large}}", r"LlamaForCausalLM, not a .*; guards\.hacking\.reward_model"),
    ],
)
def test_a_reward_model_that_cannot_serve_is_refused_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, said: str
) -> None:
    model_folder(tmp_path / "bare", weights=False)
    model_folder(tmp_path / "large", num_hidden_layers=5)
    with pytest.raises(ModelError, match=said) as refused:
        check(online_project(tmp_path, monkeypatch, more))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / ".posttrain").exists()


def test_reward_models_that_can_serve_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One as large as the policy; a larger one if the spec says so, with a note; and one that nothing is to train."""
    model_folder(tmp_path / "same")
    model_folder(tmp_path / "large", num_hidden_layers=5)
    model_folder(tmp_path / "scores", architectures=["LlamaForSequenceClassification"], id2label={"0": "score"})
    both = "reward_model: {model: same}\nguards: {hacking: {reward_model: scores}}"
    assert not check(online_project(tmp_path, monkeypatch, both)).notes

    (note,) = check(online_project(tmp_path, monkeypatch, "reward_model: {model: large, allow_larger: true}")).notes
    assert note.startswith("reward_model.model: ")
    assert "13B and 70B with 7B crash (S3)" in note
    assert not check(online_project(tmp_path, monkeypatch, "reward_model: {model: large}", SPEC)).notes
