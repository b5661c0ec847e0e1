"""A training that is killed, or runs out of memory, ends where an undisturbed one ends."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef, Workspace
from posttrain.errors import ModelError, OutOfMemory, StageCrashed
from posttrain.spec import SFTSpec
from posttrain.training import checkpoint, order, sft
from posttrain.training.result import TrainResult
from posttrain.training.supervise import supervise

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

# Puts a fault into the training process: it dies, or fails to get memory, inside the optimizer step named.
FAULT = """
import os, signal
from torch.optim.optimizer import register_optimizer_step_pre_hook
taken = 0
def faulty(*_):
    global taken
    taken += 1
    {fault}
register_optimizer_step_pre_hook(faulty)
"""
DIES = "if taken == {at} and not os.path.exists('{flag}'): open('{flag}', 'w').close(); os.kill(0, signal.SIGKILL)"
LACKS_MEMORY = (
    "if taken == 3 and '\"micro_batch_size\": {size},' in open(__import__('sys').argv[1]).read(): "
    "raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')"
)


def with_fault(folder: Path, fault: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(FAULT.format(fault=fault))


def weights(ref: ModelRef) -> str:
    folder = Path(ref.adapter or ref.base)
    (file,) = folder.glob("*.safetensors")
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"method": "full"}, 5),
        ({"method": "full", "optimizer": "muon"}, 5),
        ({"method": "lora", "lora_rank": 8, "lora_dropout": 0.1}, 8),
    ],  # 3 steps an epoch: inside the second, inside the third
)
def test_killed_and_resumed_is_bit_identical(
    base: ModelRef, data: Any, recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, at: int
) -> None:
    spec = SFTSpec(**given, save_steps=2)
    three = recipe.model_copy(update={"num_train_epochs": 3})
    undisturbed = sft.train(base, data(20), data(10), spec, three, Workspace(tmp_path / "undisturbed")).result

    with_fault(tmp_path / "fault", DIES.format(at=at, flag=tmp_path / "died"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fault"))
    with pytest.raises(StageCrashed, match="SIGKILL"):
        sft.train(base, data(20), data(10), spec, three, Workspace(tmp_path / "killed"))
    resumed = sft.train(base, data(20), data(10), spec, three, Workspace(tmp_path / "killed")).result

    assert weights(resumed.model) == weights(undisturbed.model)
    assert resumed.model.fingerprint == undisturbed.model.fingerprint
    assert (undisturbed.restarts, resumed.restarts) == (0, 1)
    assert [point.step for point in resumed.curve] == [point.step for point in undisturbed.curve]
    assert resumed.metrics == undisturbed.metrics


def test_out_of_memory_halves_the_micro_batch_and_resumes(
    base: ModelRef, data: Any, recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_fault(tmp_path / "fault", LACKS_MEMORY.format(size=8))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fault"))
    spec = SFTSpec(method="full", save_steps=1)

    result = sft.train(base, data(20), None, spec, recipe, Workspace(tmp_path / "work")).result

    assert (result.micro_batch_size, result.accumulation) == (4, 2)
    assert (result.steps, result.restarts) == (6, 1)


def test_one_row_that_does_not_fit_is_the_users_to_mend(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    job = sft.resolve(base, data(20), None, SFTSpec(), recipe).model_copy(update={"partial": str(tmp_path)})
    sizes = []

    def attempt(job: sft.SFTJob) -> TrainResult:
        sizes.append((job.micro_batch_size, job.accumulation))
        raise OutOfMemory("no more")

    with pytest.raises(ModelError, match="lower max_length"):
        supervise(job, attempt)
    assert sizes == [(8, 1), (4, 2), (2, 4), (1, 8)]


def test_a_half_written_checkpoint_is_not_resumed_from(tmp_path: Path) -> None:
    for step in (2, 10, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").write_bytes(b"weights")
    for step in (2, 10):
        checkpoint.seal(tmp_path / f"checkpoint-{step}")

    assert checkpoint.newest(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists()
    assert checkpoint.newest(tmp_path / "nowhere") is None


def test_at_most_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
        checkpoint.seal(tmp_path / f"checkpoint-{step}")

    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-11"]


def test_the_order_of_rows_depends_on_seed_and_epoch_only() -> None:
    lengths = [(7 * row) % 31 for row in range(103)]
    first = order.order(lengths, 8, seed=1, epoch=0)

    assert sorted(first) == list(range(103))
    assert first == order.order(lengths, 8, seed=1, epoch=0)
    assert first != order.order(lengths, 8, seed=1, epoch=1)
    assert first != order.order(lengths, 8, seed=2, epoch=0)
    assert max(lengths) == max(lengths[row] for row in first[:8])
    spread = [
        max(lengths[r] for r in first[b : b + 8]) - min(lengths[r] for r in first[b : b + 8]) for b in range(0, 96, 8)
    ]
    assert max(spread) <= 5
