"""A training that is killed, or runs out of memory, ends where an undisturbed one ends."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_pre_hook

from posttrain.artifacts import DatasetRef, ModelRef, Workspace
from posttrain.errors import ModelError, OutOfMemory, StageCrashed
from posttrain.spec import SFTSpec
from posttrain.training import checkpoint, order, sft
from posttrain.training.result import TrainResult
from posttrain.training.supervise import supervise
from tests.training.conftest import rows, write

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*(gradient_checkpointing|past_key_values).*:FutureWarning")

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


@pytest.mark.parametrize(
    "given",
    [
        {"method": "full", "neftune_noise_alpha": 5.0, "gradient_checkpointing": True},
        {"method": "full", "early_stopping_patience": 1, "learning_rate": 3e-2, "num_train_epochs": 8},
        {"method": "dora", "lora_rank": 4, "gradient_checkpointing": True},
        {"method": "lora", "lora_rank": 4, "packing": True, "max_length": 96, "batch_size": 6},
        {"method": "ia3", "neftune_noise_alpha": 5.0},
        {"method": "prefix", "prefix_projection": True, "encoder_hidden_size": 16},
        {"method": "p-tuning", "encoder_hidden_size": 16, "early_stopping_patience": 3, "gradient_checkpointing": True},
    ],
)
def test_every_setting_resumes_to_the_identical_result(
    base: ModelRef, data: Any, recipe: Any, tmp_path: Path, given: Any
) -> None:
    spec = SFTSpec(**{"num_train_epochs": 3, **given}, save_steps=2)
    whole = sft.resolve(base, data(20), contrary(tmp_path), spec, recipe)

    def placed(name: str) -> sft.SFTJob:
        (tmp_path / name).mkdir(exist_ok=True)
        return whole.model_copy(update={"partial": str(tmp_path / name), "final": str(tmp_path / name)})

    undisturbed = sft.run(placed("undisturbed"))
    for at in (4, 2):  # a checkpoint every 2 steps, an evaluation every 3: before and after the first of either
        with failing_at_step(at), pytest.raises(InterruptedError):
            sft.run(placed("interrupted"))
    resumed = sft.run(placed("interrupted"))

    assert weights(resumed.model) == weights(undisturbed.model)
    assert resumed.model.fingerprint == undisturbed.model.fingerprint
    assert (resumed.restarts, resumed.steps) == (2, undisturbed.steps)
    assert resumed.metrics == undisturbed.metrics


def test_a_truncated_checkpoint_is_passed_over_for_the_one_before_it(
    base: ModelRef, data: Any, recipe: Any, tmp_path: Path
) -> None:
    spec = SFTSpec(method="full", num_train_epochs=3, save_steps=2)
    whole = sft.resolve(base, data(20), None, spec, recipe)

    def placed(name: str) -> sft.SFTJob:
        (tmp_path / name).mkdir(exist_ok=True)
        return whole.model_copy(update={"partial": str(tmp_path / name), "final": str(tmp_path / name)})

    undisturbed = sft.run(placed("undisturbed"))
    with failing_at_step(6), pytest.raises(InterruptedError):
        sft.run(placed("interrupted"))
    last = tmp_path / "interrupted/checkpoints/checkpoint-4"
    with (last / "optimizer.pt").open("r+b") as file:
        file.truncate(1000)
    resumed = sft.run(placed("interrupted"))

    assert weights(resumed.model) == weights(undisturbed.model)
    assert (resumed.restarts, resumed.steps) == (1, undisturbed.steps)


def contrary(folder: Path) -> DatasetRef:
    """Rows that have each other's answers: the better the others are learnt, the worse these are foretold."""
    made = rows(8)
    told = [row["completion"] for row in made]
    return write([{**row, "completion": other} for row, other in zip(made, told[1:] + told[:1], strict=True)],
                 folder / "contrary.parquet")  # fmt: skip


@contextlib.contextmanager
def failing_at_step(at: int) -> Iterator[None]:
    """The `at`th optimizer step from here on does not come to its end."""
    taken = 0

    def fail(*_: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == at:
            raise InterruptedError

    hook = register_optimizer_step_pre_hook(fail)
    try:
        yield
    finally:
        hook.remove()


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
