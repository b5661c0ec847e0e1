"""Before the first stage: check again what the command checked, for a flow may start from a schedule instead.

A scheduled run also takes its turn, and gives up when it was lost too often.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import runtime

from posttrain.errors import PosttrainError
from posttrain.preflight import check
from posttrain.process import take_turns
from tasks.run import Run
from tasks.turns import device_turn, pipeline_turn


class LostTooOften(PosttrainError):
    """The run's process ended without a word as often as `schedule.resume` allows."""


def start(spec_path: str) -> Run:
    """The run of the spec at `spec_path`; nothing but a scheduled run's lock is written yet.

    Raises: `UserError` for a wrong spec, unreadable data, an unusable model or workspace; LostTooOften.
    """
    run = Run(check(Path(spec_path)))
    if runtime.deployment.id:
        _refuse_endless_resuming(run.spec.schedule.resume)
        run.hold(pipeline_turn(run.workspace.root / "locks" / f"{run.spec.name}.lock"))
    take_turns(partial(device_turn, run.spec.resources.processes))
    return run


def _refuse_endless_resuming(allowed: int) -> None:
    tries = int(runtime.flow_run.run_count or 1)
    if tries > allowed + 1:
        raise LostTooOften(
            f"this run was lost {tries - 1} times, and schedule.resume allows {allowed}; see the last log of its stage "
            "for the cause (memory, disk), then start a new run"
        )
