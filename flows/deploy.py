"""A deployment from a spec: its schedule, its work pool, and one run of a pipeline at a time.

Where the flow runs is the work pool's business (process, Docker, Kubernetes); what runs is `flows/retrain.py`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.prefect_server import answers, users_server
from flows.quiet import settle_environment
from flows.watch_deployment import deploy_watch
from posttrain import preflight
from posttrain.errors import UserError

if TYPE_CHECKING:
    from posttrain.spec import LoadedSpec

ENTRYPOINT = "flows.retrain.retrain"
AT_ONCE = 1
"""Two runs of one pipeline would train the same stages twice and race for the champion's alias."""


def deploy_spec(path: Path, pool: str) -> None:
    """Create or renew the deployment of the spec at `path`, and the work pool when there is none of that name.

    Raises: UserError for a wrong spec, or when no Prefect server answers.
    """
    settle_environment()
    loaded = preflight.check(path).loaded
    server = users_server()
    if not server or not answers(f"{server.rstrip('/')}/health"):
        raise UserError(
            f"PREFECT_API_URL: {f'nothing answers at {server}' if server else 'is not set'}, and a schedule lives in a "
            "Prefect server; start one with `posttrain ui`, then export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    os.environ["PREFECT_API_URL"] = server
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    name = asyncio.run(_deploy(loaded, pool))
    cron = loaded.spec.schedule.cron
    print(f"deployed {name}: {f'runs at {cron} ({loaded.spec.schedule.timezone})' if cron else 'runs on demand'}")
    print(f"its worker: prefect worker start --pool {pool}")
    print(f"run it now: prefect deployment run {name}")


async def _deploy(loaded: LoadedSpec, pool: str) -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    async with get_client() as client:
        try:
            await client.read_work_pool(pool)
        except ObjectNotFound:
            await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        await client.create_deployment(
            flow_id=await client.create_flow_from_name("retrain"),
            name=loaded.spec.name,
            entrypoint=ENTRYPOINT,
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(loaded.root)}}],
            parameters={"spec_path": str(loaded.path)},
            schedules=_schedules(loaded),
            work_pool_name=pool,
            concurrency_limit=AT_ONCE,
            enforce_parameter_schema=False,
            description=f"{loaded.path}, in {loaded.root}",
            tags=["posttrain"],
        )
        await deploy_watch(client, loaded, pool)
    return f"retrain/{loaded.spec.name}"


def _schedules(loaded: LoadedSpec) -> list[Any]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    schedule = loaded.spec.schedule
    if not schedule.cron:
        return []
    return [DeploymentScheduleCreate(schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone))]
