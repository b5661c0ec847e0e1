"""Which machine this is, for estimates: the GPUs that `nvidia-smi` names, otherwise this CPU. Imports no torch."""

from __future__ import annotations

import subprocess

from posttrain.models.estimate import Machine


def this_machine(threads: int, memory_bytes: int) -> Machine:
    """The GPUs of this machine; without any, so many CPU threads and bytes of memory."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        name, megabytes = answer[0].rsplit(",", 1)
        return Machine.gpu(name.strip(), int(megabytes) * 2**20, len(answer))
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return Machine.cpu(threads, memory_bytes)
