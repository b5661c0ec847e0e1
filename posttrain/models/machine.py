"""Which machine this is, for estimates: the GPUs that `nvidia-smi` names, otherwise this CPU. Imports no torch."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

from posttrain.errors import SpecError
from posttrain.models.estimate import Machine


def has_cuda_gpu() -> bool:
    """Whether NVIDIA's driver is there, as far as can be told without torch."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def check_four_bit() -> None:
    """Raise `SpecError`, in one line, where a base cannot be quantised to 4 bits, as QLoRA trains it."""
    if not has_cuda_gpu():
        raise SpecError(
            "sft.method: found qlora, which needs a CUDA GPU, and this machine has none; use method: lora, or run it "
            "where there is one"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SpecError(
            "sft.method: found qlora, but bitsandbytes is not installed; install it (pip install 'posttrain[qlora]'), "
            "or use method: lora"
        )


def check_padding_free() -> None:
    """Raise `SpecError`, in one line, where the rows of a micro-batch cannot go without padding."""
    if not has_cuda_gpu():
        raise SpecError(
            "sft.padding_free: needs a CUDA GPU with flash attention, and this machine has none; remove it, or use "
            "sft.packing"
        )
    if importlib.util.find_spec("flash_attn") is None:
        raise SpecError(
            "sft.padding_free: needs flash attention, which is not installed; install it (pip install flash-attn), or "
            "use sft.packing"
        )


def this_machine(threads: int, memory_bytes: int) -> Machine:
    """The GPUs of this machine; without any, so many CPU threads and bytes of memory."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        name, megabytes = answer[0].rsplit(",", 1)
        return Machine.gpu(name.strip(), int(megabytes) * 2**20, len(answer))
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return Machine.cpu(threads, memory_bytes)
