"""Which machine this is: the GPUs that `nvidia-smi` names, otherwise this CPU. Imports no torch."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from functools import cache
from pathlib import Path

from posttrain.errors import SpecError
from posttrain.models.estimate import PROCESS_BYTES, Machine
from posttrain.models.hardware import Devices


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


def gpu_count() -> int:
    """How many GPUs `nvidia-smi` names."""
    found = _gpus()
    return found.count if found else 0


def these_devices(threads: int, memory_bytes: int, given: str | None = None) -> Devices:
    """The devices that a spec names, else the GPUs of this machine, else so many CPU threads and bytes of memory."""
    if given is not None and given != "cpu":
        return Devices.parse(given)
    return _cpu(threads, memory_bytes) if given else _gpus() or _cpu(threads, memory_bytes)


def check_devices(given: str | None, processes: int | None) -> None:
    """Refuse to train on devices that are only planned with, or by more processes than there are GPUs.

    Raises: SpecError.
    """
    found = _gpus()
    here = f"this machine has {found}" if found else "nvidia-smi names no GPU here"
    count = found.count if found else 0
    if given and given != "cpu" and Devices.parse(given).count > count:
        raise SpecError(
            f"resources.devices: found {given!r}, and {here}; expected no more than there is; leave it out, and ask "
            f"`posttrain plan SPEC --devices '{given}'` what would be"
        )
    if processes and found and processes > count:
        raise SpecError(
            f"resources.processes: found {processes}, and {here}; expected one process a GPU at most; set it to {count}"
        )


def machine_of(devices: Devices) -> Machine:
    """The same as an estimate of time needs it."""
    if devices.kind == "cpu":
        return Machine.cpu(devices.threads, devices.memory_bytes + PROCESS_BYTES)
    return Machine.gpu(devices.name, devices.memory_bytes, devices.count)


def _cpu(threads: int, memory_bytes: int) -> Devices:
    """A CPU is one device, and the process itself takes of its memory."""
    name = f"{threads} CPU threads"
    return Devices(kind="cpu", count=1, memory_bytes=max(0, memory_bytes - PROCESS_BYTES), name=name, threads=threads)


@cache
def _gpus() -> Devices | None:
    """What `nvidia-smi` says; of GPUs that differ, as many as there are of the smallest's memory."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        found = [line.rsplit(",", 1) for line in answer if line.strip()]
        name, megabytes = min(found, key=lambda each: int(each[1]))
        return Devices(kind="gpu", count=len(found), memory_bytes=int(megabytes) * 2**20, name=name.strip())
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None
