"""Two processes train as one does: the same rows, the same steps, the same end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from posttrain.artifacts import ModelRef, Workspace
from posttrain.errors import SpecError
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


# The second process cannot get memory in its fourth step, while its micro-batch is 4.
LACKS_MEMORY = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_pre_hook
taken = 0
def faulty(*_):
    global taken
    taken += 1
    if os.environ.get("RANK") == "1" and taken == 4 and '"micro_batch_size": 4,' in open(sys.argv[1]).read():
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
register_optimizer_step_pre_hook(faulty)
"""


def test_two_processes_take_the_steps_of_one_even_when_memory_runs_out_on_the_way(
    base: ModelRef, data: Any, recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 rows in batches of 8, so that the last batch of an epoch is half full; the same alone and shared by two.

    The second try of the two begins at the checkpoint of step 2, with two rows each and twice the accumulation.
    """
    import torch

    alone = sft.run(here(sft.resolve(base, data(20), data(10), FULL, recipe), tmp_path / "alone"))
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(LACKS_MEMORY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'fault'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    two = sft.train(base, data(20), data(10), FULL, shared(recipe, 2, 4), Workspace(tmp_path / "work")).result

    losses, same = ([point.metrics["loss"] for point in each.curve if "loss" in point.metrics] for each in (alone, two))
    assert len(losses) == 6
    assert same == pytest.approx(losses, rel=1e-4)
    assert (two.steps, two.rows, two.restarts) == (6, 20, 1)
    assert (two.micro_batch_size, two.recipe["processes"], two.accumulation) == (2, 2, 2)
    assert two.metrics["eval_loss"] == pytest.approx(alone.metrics["eval_loss"], rel=0.02)
    weights, as_good = load_model(alone.model).state_dict(), load_model(two.model).state_dict()
    assert weights.keys() == as_good.keys()
    assert all(torch.allclose(weight, as_good[name], atol=1e-4) for name, weight in weights.items())


def here(job: sft.SFTJob, folder: Path) -> sft.SFTJob:
    folder.mkdir()
    return job.model_copy(update={"partial": str(folder), "final": str(folder)})


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
