"""Whose turn it is: one training on a device, and one run of a pipeline in a workspace, of all that are scheduled.

Devices are limits of the Prefect server that `posttrain deploy` makes; a run started by hand knows none and waits for
nobody. Only the work waits: a stage that is found done takes no device.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from posttrain.errors import TransientError, WorkspaceError
from posttrain.file_lock import held
from posttrain.models.machine import gpu_count

DEVICES_VARIABLE = "POSTTRAIN_DEVICES_OF"
"""Set for the runs of a deployment: the work pool whose devices they share."""
LEASE_SECONDS = 60.0
"""So long the device of a killed run stays taken; a living one renews its lease."""
POLL_SECONDS = 2.0
"""How often a run looks whether devices are free."""
CHOOSE_SECONDS = 10.0
"""So long it waits for those that were, if others were quicker, before it looks again."""


def device_limit(pool: str, device: int | str) -> str:
    """The name of a device's limit."""
    return f"posttrain-device:{pool}:{device}"


@contextmanager
def device_turn(processes: int | None) -> Iterator[dict[str, str]]:
    """Hold as many of this machine's devices as there are processes, or all of them; wait while too few are free.

    Gives the environment that shows a process those devices only; empty where it holds all of them.

    Raises: TransientError when the server that counts them does not answer.
    """
    pool = os.environ.get(DEVICES_VARIABLE)
    with ExitStack() as held:
        try:
            chosen = _taken(held, pool, processes) if pool else _devices()
        except httpx.HTTPError as error:
            raise TransientError(f"the Prefect server does not say whether a device is free ({error})") from error
        yield {} if len(chosen) == len(_devices()) else {"CUDA_VISIBLE_DEVICES": ",".join(chosen)}


def _taken(held: ExitStack, pool: str, processes: int | None) -> list[str]:
    """The devices that `held` now holds: free ones, chosen again while others were quicker."""
    while True:
        taken = {device: _in_use(pool, device) for device in _devices()}
        chosen = sorted(taken, key=taken.__getitem__)[:processes]
        if any(taken[device] for device in chosen):
            time.sleep(POLL_SECONDS)
            continue
        try:
            limits = [device_limit(pool, device) for device in chosen]
            held.enter_context(concurrency(limits, timeout_seconds=CHOOSE_SECONDS, lease_duration=LEASE_SECONDS))
        except TimeoutError:
            continue
        return sorted(chosen, key=_devices().index)


def _in_use(pool: str, device: str) -> int:
    """Slots of a device that are taken; none when the device is not counted."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_global_concurrency_limit_by_name(device_limit(pool, device)).active_slots
        except ObjectNotFound:
            return 0


def _devices() -> list[str]:
    """Those that CUDA may use here; a CPU is one device."""
    visible = [each.strip() for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
    return visible or [str(device) for device in range(gpu_count() or 1)]


@contextmanager
def pipeline_turn(lock: Path) -> Iterator[None]:
    """Hold the lock of a pipeline in its workspace; it goes with the process.

    A run that Prefect took for lost, and started again, may be alive after all: the second then waits for the first,
    and finds its stages done.

    Raises: WorkspaceError when the lock's file cannot be made.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held(lock))
        except OSError as error:
            raise WorkspaceError(f"{lock}: cannot be made ({error.strerror}); make its folder writable") from error
        yield
