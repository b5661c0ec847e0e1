"""How the processes of one training are started together: accelerate's configuration, written from the plan.

One process needs none. DDP gives each process a whole copy; FSDP2 spreads weights, gradients and moments over the
devices; DeepSpeed ZeRO-3 keeps them in the machine's own memory besides. Which one is `posttrain.models.hardware`'s to
say. Knows the job, and neither models nor trainers.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import yaml

from posttrain.artifacts import write_atomic
from posttrain.errors import ModelError
from posttrain.training.job import TrainingJob

COMMON: dict[str, Any] = {
    "compute_environment": "LOCAL_MACHINE",
    "machine_rank": 0,
    "num_machines": 1,
    "main_process_port": 0,  # a free one, so that two trainings on a machine do not meet
    "main_training_function": "main",
    "rdzv_backend": "static",
    "same_network": True,
    "debug": False,
    "downcast_bf16": "no",
    "enable_cpu_affinity": False,
    "tpu_use_cluster": False,
    "tpu_use_sudo": False,
}


def write_config(job: TrainingJob, folder: Path) -> Path | None:
    """Write `accelerate.yaml` into `folder`; None for one process without offloading, which needs no launcher.

    Raises: ModelError when the configuration needs a package that is not there.
    """
    if job.processes == 1 and job.distribution != "deepspeed":
        return None
    if job.distribution == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        raise ModelError(
            "sft: fits only when weights and optimizer lie in the machine's memory, which needs DeepSpeed, and it is "
            "not installed; pip install deepspeed, use sft.method: qlora, or take a smaller base"
        )
    path = folder / "accelerate.yaml"
    write_atomic(path, yaml.safe_dump(accelerate_config(job), sort_keys=True))
    return path


def accelerate_config(job: TrainingJob) -> dict[str, Any]:
    """The configuration as `accelerate launch --config_file` reads it."""
    config = {
        **COMMON,
        "num_processes": job.processes,
        "mixed_precision": "bf16" if job.bf16 else "no",
    }
    if job.distribution == "fsdp2":
        return {**config, "distributed_type": "FSDP", "fsdp_config": _fsdp()}
    if job.distribution == "deepspeed":
        return {**config, "distributed_type": "DEEPSPEED", "deepspeed_config": _deepspeed(job)}
    # accelerate's own launcher of several CPU processes wants MPI; this one is torch's, and gloo serves on a CPU.
    return {**config, "distributed_type": "MULTI_GPU"}


def _fsdp() -> dict[str, Any]:
    return {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_reshard_after_forward": True,
        "fsdp_offload_params": False,
        "fsdp_cpu_ram_efficient_loading": False,
        "fsdp_state_dict_type": "SHARDED_STATE_DICT",
        "fsdp_activation_checkpointing": False,  # the trainer recomputes by itself
    }


def _deepspeed(job: TrainingJob) -> dict[str, Any]:
    return {
        "zero_stage": 3,
        "offload_optimizer_device": "cpu",
        "offload_param_device": "cpu",
        "gradient_accumulation_steps": job.accumulation,
        "gradient_clipping": job.max_grad_norm,
        "zero3_init_flag": False,
        "zero3_save_16bit_model": True,
    }


def environment(job: TrainingJob) -> dict[str, str]:
    """Threads of each of several processes; alone, one GPU, or the trainer would split each batch over all of them."""
    if job.processes > 1:
        return {"OMP_NUM_THREADS": str(job.threads)}
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return {}
    return {"CUDA_VISIBLE_DEVICES": str(job.device)}
