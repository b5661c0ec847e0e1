"""Two processes train as one does: the same rows, the same steps, the same end; and none of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from posttrain.artifacts import ModelRef, Workspace
from posttrain.errors import DataError, OutOfMemory, SpecError, StageCrashed
from posttrain.models.load import load_model
from posttrain.spec import SFTSpec
from posttrain.training import sft
from posttrain.training.distribution import accelerate_config, write_config
from posttrain.training.order import LengthGroupedSampler, order
from posttrain.training.supervise import with_micro_batch

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

FULL = SFTSpec(method="full", save_steps=2)


def shared(recipe: Any, processes: int, micro: int) -> Any:
    update = {"processes": processes, "distribution": "ddp" if processes > 1 else "none", "micro_batch_size": micro}
    return recipe.model_copy(update=update)


@pytest.fixture(scope="module")
def trained(base: ModelRef, data: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same training, of 20 rows in batches of 8 (so that the last batch is half full), alone and in pairs."""
    from posttrain.training.job import Recipe

    recipe = Recipe(learning_rate=3e-3, num_train_epochs=2, batch_size=8, micro_batch_size=8, threads=1)

    def run(processes: int, micro: int) -> Any:
        folder = tmp_path_factory.mktemp(f"{processes}x{micro}")
        return sft.train(base, data(20), data(10), FULL, shared(recipe, processes, micro), Workspace(folder)).result

    return {split: run(*split) for split in ((1, 8), (2, 4), (2, 1))}


@pytest.mark.parametrize("split", [(2, 4), (2, 1)])
def test_two_processes_take_the_steps_of_one(trained: Any, split: tuple[int, int]) -> None:
    alone, shared = trained[1, 8], trained[split]
    losses, same = (
        [point.metrics["loss"] for point in each.curve if "loss" in point.metrics] for each in (alone, shared)
    )
    assert len(losses) == 6
    assert same == pytest.approx(losses, rel=1e-4)
    assert (shared.steps, shared.rows, shared.accumulation) == (6, 20, 4 // split[1])
    assert shared.metrics["eval_loss"] == pytest.approx(alone.metrics["eval_loss"], rel=0.02)


def test_their_products_are_the_same_model(trained: Any) -> None:
    import torch

    alone, shared = (load_model(trained[split].model).state_dict() for split in ((1, 8), (2, 4)))
    assert alone.keys() == shared.keys()
    for name, weight in alone.items():
        assert torch.allclose(weight, shared[name], atol=1e-4), name


DIES = """
import os, signal
from torch.optim.optimizer import register_optimizer_step_pre_hook
taken = 0
def faulty(*_):
    global taken
    taken += 1
    if os.environ.get("RANK") == "1" and taken == 4:
        {fault}
register_optimizer_step_pre_hook(faulty)
"""


def in_the_second(fault: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a fault into the fourth step of the second process."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(DIES.format(fault=fault))
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def still_there(folder: Path) -> list[int]:
    """Processes that work on a job below `folder`."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if any(str(folder) in part for part in process.info["cmdline"] or []) and process.pid != os.getpid():
            found.append(process.pid)
    return found


def test_a_death_ends_all_and_the_retry_ends_where_it_would_have(
    base: ModelRef, data: Any, recipe: Any, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "died"
    once = f"os.path.exists({str(flag)!r}) or (open({str(flag)!r}, 'w').close(), os.kill(os.getpid(), signal.SIGKILL))"
    in_the_second(once, tmp_path / "fault", monkeypatch)
    split = shared(recipe, 2, 4)
    with pytest.raises(StageCrashed):
        sft.train(base, data(20), data(10), FULL, split, Workspace(tmp_path / "work"))
    assert still_there(tmp_path / "work") == []

    resumed = sft.train(base, data(20), data(10), FULL, split, Workspace(tmp_path / "work")).result

    undisturbed = trained[2, 4]
    assert resumed.restarts == 1
    assert [point.step for point in resumed.curve] == [point.step for point in undisturbed.curve]
    assert resumed.metrics["loss"] == pytest.approx(undisturbed.metrics["loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("raise __import__('posttrain.errors').errors.DataError('rows.jsonl:3: wrong')", DataError),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", OutOfMemory),
    ],
)
def test_the_second_process_error_is_heard_while_the_first_waits(
    fault: str,
    error: type[Exception],
    base: ModelRef,
    data: Any,
    recipe: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from posttrain.process import launch
    from posttrain.training.result import TrainResult

    in_the_second(fault, tmp_path / "fault", monkeypatch)
    job = sft.resolve(base, data(20), None, FULL, shared(recipe, 2, 4))
    folder = tmp_path / "stage"
    folder.mkdir()
    placed = job.model_copy(update={"partial": str(folder), "final": str(folder)})
    with pytest.raises(error):
        launch(sft.MODULE, placed, folder, TrainResult, together=write_config(placed, folder))
    assert still_there(folder) == []


PARENT = """
from pathlib import Path
from posttrain.process import launch
from posttrain.training import sft
from posttrain.training.result import TrainResult
folder = Path({folder!r})
job = sft.SFTJob.model_validate_json((folder / "given.json").read_text())
launch(sft.MODULE, job, folder, TrainResult, together=folder / "accelerate.yaml")
"""


def test_no_process_outlives_a_killed_flow(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    folder.mkdir()
    long = shared(recipe, 2, 4).model_copy(update={"num_train_epochs": 500})
    job = sft.resolve(base, data(20), None, FULL, long)
    placed = job.model_copy(update={"partial": str(folder), "final": str(folder)})
    (folder / "given.json").write_text(placed.model_dump_json())
    write_config(placed, folder)
    flow = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PARENT.format(folder=str(folder)))])
    try:
        wait_until(lambda: '"done": 2' in read(folder / "events.jsonl"), 120)
        assert len(still_there(folder)) >= 3  # the launcher and two processes
    finally:
        flow.send_signal(signal.SIGKILL)
        flow.wait()
    wait_until(lambda: not still_there(folder), 20)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_until(true: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def test_the_order_of_rows_is_the_same_however_it_is_shared() -> None:
    lengths = [3, 9, 4, 4, 8, 1, 7, 5, 6, 2]
    for multiple in (1, 2, 4, 8):
        sampler = LengthGroupedSampler(lengths, 4, seed=7, multiple=multiple)
        sampler.set_epoch(2)
        taken = list(sampler)
        assert taken[:10] == order(lengths, 4, seed=7, epoch=2)
        assert set(taken[10:]) <= {10}  # the blank row
        assert len(taken) % multiple == 0
        assert len(taken) == len(sampler) < 10 + multiple


def test_memory_that_runs_out_halves_the_part_of_each_process(base: ModelRef, data: Any, recipe: Any) -> None:
    job = sft.resolve(base, data(20), None, FULL, shared(recipe, 2, 4))
    sizes = []
    while True:
        sizes.append((job.micro_batch_size, job.processes, job.accumulation))
        if job.micro_batch_size == 1:
            break
        job = with_micro_batch(job, job.micro_batch_size // 2)
    assert sizes == [(4, 2, 1), (2, 2, 2), (1, 2, 4)]
    assert all(micro * processes * accumulation == 8 for micro, processes, accumulation in sizes)


def test_a_batch_that_cannot_be_shared_is_refused(base: ModelRef, data: Any, recipe: Any) -> None:
    with pytest.raises(SpecError, match=r"found 7, which 2 processes cannot share"):
        sft.resolve(base, data(20), None, SFTSpec(batch_size=7), shared(recipe, 2, 4))


@pytest.mark.parametrize("distribution", ["ddp", "fsdp2", "deepspeed"])
def test_accelerate_understands_the_configuration(
    distribution: str, base: ModelRef, data: Any, recipe: Any, tmp_path: Path
) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    job = sft.resolve(base, data(20), None, FULL, shared(recipe, 2, 2))
    job = job.model_copy(update={"distribution": distribution, "bf16": True})
    path = tmp_path / "accelerate.yaml"
    path.write_text(yaml.safe_dump(accelerate_config(job)))
    config = load_config_from_file(str(path))
    names = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "deepspeed": "DEEPSPEED"}
    assert (config.num_processes, str(config.distributed_type.value)) == (2, names[distribution])
    assert config.mixed_precision == "bf16"
    if distribution == "fsdp2":
        assert config.fsdp_config["fsdp_version"] == 2
    if distribution == "deepspeed":
        assert config.deepspeed_config["gradient_accumulation_steps"] == 2


def test_one_process_needs_no_launcher(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    assert write_config(sft.resolve(base, data(20), None, FULL, recipe), tmp_path) is None
