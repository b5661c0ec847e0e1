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
    retries: int = setting(3, "Further tries of a training stage that crashed or ran out of memory.", ge=0, le=20)
    retry_delay_seconds: float = setting(2, "Wait before a further try.", ge=0)
    price_per_hour: float | None = setting(
        None, "What an hour of this machine costs, in any currency; plans and advice then name money too.", gt=0
    )
