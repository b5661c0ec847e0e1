"""`resources`: where results are written, and what may be spent."""

from __future__ import annotations

from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class ResourcesSpec(Frozen):
    """Where results are written, and what may be spent."""

    workspace: str = setting(
        ".posttrain",
        "Folder of every stage's output, inside the project's folder (a link to elsewhere is fine).",
        min_length=1,
    )
    engine: Literal["local", "ray"] = setting(
        "local",
        "Where the data stages work: processes on this machine, or a Ray cluster (posttrain[ray]). The result is the "
        "same, row for row.",
    )
    threads: int | None = setting(
        None, "CPU threads of training and generation; empty: all cores.", source="torch", ge=1
    )
    devices: str | None = setting(
        None,
        "What to plan for, as COUNTxGB with or without a name (4x80, '1x24 L4'), or cpu; empty: the GPUs that "
        "nvidia-smi names, else this CPU.",
        source="nvidia-smi",
        pattern=r"^(cpu|[1-9]\d* *[xX×] *\d+(\.\d+)? *(GB)?( +\S.*)?)$",
    )
    processes: int | None = setting(
        None,
        "Processes that share an SFT, each with its own device; empty: one for each GPU, and one on a CPU.",
        source="accelerate",
        ge=1,
        le=64,
    )
    retries: int = setting(3, "Further tries of a training stage that crashed or ran out of memory.", ge=0, le=20)
    retry_delay_seconds: float = setting(2, "Wait before a further try.", ge=0)
    price_per_hour: float | None = setting(
        None, "What an hour of this machine costs, in any currency; plans and advice then name money too.", gt=0
    )
