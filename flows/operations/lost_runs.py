"""Runs that lost their process: Prefect finds them by their missing heartbeats, and starts them again.

Prefect leaves a run whose process was killed with its worker `Running` for ever. Two automations of a deployment cure
that: one notes such a run as crashed, the other schedules each crashed run again under the same id. What the run had
finished is found, and training goes on from its newest checkpoint; `tasks/start.py` gives up after so many tries.
Knows nothing of what the run does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.operations.background import has_variable
from posttrain.spec.sections.schedule import ScheduleSpec

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State

HEARTBEATS_A_LOSS = 3
"""So many must stay away before a run counts as lost: one may be late."""
FASTEST_HEARTBEAT = 30
"""Prefect gives none more often."""
LIVING = {"prefect.flow-run.heartbeat", "prefect.flow-run.Pending"}
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Paused")}
SHOWN = {*LIVING, *ENDED, "prefect.flow-run.Running", "prefect.flow-run.AwaitingConcurrencySlot"}


def heartbeat_seconds(schedule: ScheduleSpec) -> int:
    """How often a run must give a sign of life."""
    return max(FASTEST_HEARTBEAT, schedule.lost_after_seconds // HEARTBEATS_A_LOSS)


async def watch_runs(client: PrefectClient, name: str, deployment: UUID, schedule: ScheduleSpec) -> None:
    """Create or renew the automations of a deployment; with `schedule.resume: 0`, lost runs are only noted."""
    from prefect.events.schemas.automations import AutomationCore

    wanted = [AutomationCore(**_find(name, deployment, schedule.lost_after_seconds))]
    if schedule.resume:
        wanted.append(AutomationCore(**_resume(name, deployment)))
    for title in (_title(name, "find"), _title(name, "resume")):
        for old in await client.read_automations_by_name(title):
            await client.delete_automation(old.id)
    for automation in wanted:
        await client.create_automation(automation)


def _title(name: str, what: str) -> str:
    return f"posttrain: {what} lost runs of {name}"


def _find(name: str, deployment: UUID, seconds: int) -> dict[str, Any]:
    return {
        "name": _title(name, "find"),
        "description": f"A run that gave no sign of life for {seconds} s has crashed.",
        "trigger": {
            **_runs_of(deployment),
            "posture": "Proactive",
            "after": LIVING,
            "expect": SHOWN,
            "within": timedelta(seconds=seconds),
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "message": f"lost: no sign of life for {seconds} s",
            }
        ],
    }


def _resume(name: str, deployment: UUID) -> dict[str, Any]:
    return {
        "name": _title(name, "resume"),
        "description": "A run that crashed is started again; it goes on from its newest checkpoint.",
        "trigger": {**_runs_of(deployment), "posture": "Reactive", "expect": {"prefect.flow-run.Crashed"}},
        "actions": [
            {
                "type": "change-flow-run-state",
                "name": "AwaitingRetry",
                "state": "SCHEDULED",
                "message": "crashed; it goes on from its newest checkpoint",
            }
        ],
    }


def _runs_of(deployment: UUID) -> dict[str, Any]:
    return {
        "type": "event",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": {
            "prefect.resource.role": "deployment",
            "prefect.resource.id": f"prefect.deployment.{deployment}",
        },
        "for_each": {"prefect.resource.id"},
        "threshold": 1,
    }


async def resume_lost_here(pool: str, workers: str) -> int:
    """Start runs again whose process is gone, sooner than their heartbeats are missed; how many.

    Not by way of the automations: a server that was started anew hears of a crash only a quarter of an hour later,
    since it waits for the event before, which it forgot. Where `schedule.resume` is 0, they are only noted as crashed.
    And only where every worker of the pool has a name that begins with `workers`, as those of this machine have: what
    runs elsewhere cannot be seen from here.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.states import AwaitingRetry, Crashed

    going = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}})
    resumed = 0
    async with get_client() as client:
        if not all(each.name.startswith(workers) for each in await client.read_workers_for_work_pool(pool)):
            return 0
        here = WorkPoolFilter.model_validate({"name": {"any_": [pool]}})
        for run in await client.read_flow_runs(flow_run_filter=going, work_pool_filter=here):
            if not run.deployment_id or has_variable("PREFECT__FLOW_RUN_ID", str(run.id)):
                continue
            name = (await client.read_deployment(run.deployment_id)).name
            if await client.read_automations_by_name(_title(name, "resume")):
                again: State[None] = AwaitingRetry(message="its process was gone; goes on from its newest checkpoint")
                await client.set_flow_run_state(run.id, again)
                resumed += 1
            else:
                await client.set_flow_run_state(run.id, Crashed(message="lost: its process is gone"))
    return resumed
