"""A deployment from a spec: its schedule, its work pool, one run of a pipeline at a time, one training on a device.

Where the flow runs is the work pool's business (process, Docker, Kubernetes); what runs is `flows/retrain.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.operations.lost_runs import heartbeat_seconds, watch_runs
from flows.operations.prefect_server import answers, talking_to, users_server
from flows.operations.quiet import settle_environment
from flows.operations.watch_deployment import deploy_watch
from posttrain import preflight
from posttrain.errors import UserError, WorkspaceError
from posttrain.models.machine import gpu_count
from tasks.turns import DEVICES_VARIABLE, device_limit

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from posttrain.spec import LoadedSpec

PoolType = Literal["process", "docker", "kubernetes"]
ENTRYPOINT = "flows.retrain.retrain"
SUFFIXES = (".yaml", ".yml")
AT_ONCE = 1
"""Two runs of one pipeline would train the same stages twice and race for the champion's alias."""
COLLISION = {"queue": "ENQUEUE", "skip": "CANCEL_NEW"}


@dataclass(frozen=True)
class Deployed:
    """A deployment as it stands: its name in Prefect, and when it runs, in words."""

    name: str
    when: str


def deploy_spec(path: Path, pool: str, pool_type: str = "process", devices: int | None = None) -> None:
    """Create or renew the deployment of the spec at `path`, and the work pool when there is none of that name.

    Raises: UserError for a wrong spec or pool type, or when no Prefect server answers.
    """
    settle_environment()
    loaded = preflight.check(path).loaded
    server = users_server()
    if not server or not answers(f"{server.rstrip('/')}/health"):
        raise UserError(
            f"PREFECT_API_URL: {f'nothing answers at {server}' if server else 'is not set'}, and a schedule lives in a "
            "Prefect server; start one with `posttrain up SPEC`, or `posttrain ui` and then "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    deployed = deploy(loaded, server, pool, pool_type, devices)
    print(f"deployed {deployed.name}: {deployed.when}")
    print(f"its worker: prefect worker start --pool {pool}")
    print(f"run it now: prefect deployment run {deployed.name}")


def deploy(
    loaded: LoadedSpec, server: str, pool: str, pool_type: str = "process", devices: int | None = None
) -> Deployed:
    """The same for a spec that was checked, at a server that answers.

    Raises: UserError for a wrong pool type, or a name that the form of the flow would refuse.
    """
    if loaded.path.suffix not in SUFFIXES:
        raise UserError(f"{loaded.path}: found {loaded.path.suffix!r}, expected .yaml; rename the spec to deploy it")
    with talking_to(server):
        name = asyncio.run(_deploy(loaded, pool, pool_type, devices or gpu_count() or 1))
    schedule = loaded.spec.schedule
    return Deployed(name, f"runs at {schedule.cron} ({schedule.timezone})" if schedule.cron else "runs on demand")


async def _deploy(loaded: LoadedSpec, pool: str, pool_type: str, devices: int) -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions

    spec = loaded.spec
    async with get_client() as client:
        await _make_pool(client, pool, pool_type)
        for device in range(devices):
            await client.upsert_global_concurrency_limit_by_name(device_limit(pool, device), AT_ONCE)
        deployment = await client.create_deployment(
            flow_id=await client.create_flow_from_name("retrain"),
            name=spec.name,
            entrypoint=ENTRYPOINT,
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(loaded.root)}}],
            parameters={"spec_path": str(loaded.path)},
            parameter_openapi_schema=_parameters(),
            enforce_parameter_schema=True,
            schedules=_schedules(loaded),
            work_pool_name=pool,
            job_variables={"env": _environment(loaded, pool)},
            concurrency_limit=AT_ONCE,
            concurrency_options=ConcurrencyOptions(
                collision_strategy=ConcurrencyLimitStrategy(COLLISION[spec.schedule.overlap])
            ),
            description=f"{loaded.path}, in {loaded.root}",
            tags=["posttrain", spec.name],
        )
        await watch_runs(client, spec.name, deployment, spec.schedule)
        await deploy_watch(client, loaded, pool)
    return f"retrain/{spec.name}"


async def _make_pool(client: PrefectClient, pool: str, pool_type: str) -> None:
    """The work pool, with the template of its type that Prefect ships. Raises: UserError for a wrong type."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    try:
        found = await client.read_work_pool(pool)
    except ObjectNotFound:
        template = await _template(client, pool_type)
        await client.create_work_pool(WorkPoolCreate(name=pool, type=pool_type, base_job_template=template))
        return
    if found.type != pool_type:
        raise WorkspaceError(
            f"--pool-type: work pool {pool!r} is of type {found.type}, found {pool_type}; name another pool, or write "
            f"--pool-type {found.type}"
        )


async def _template(client: PrefectClient, pool_type: str) -> dict[str, Any]:
    """What a pool of this type may be told, as Prefect's own command makes it."""
    from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

    template = await get_default_base_job_template_for_infrastructure_type(pool_type)
    if template is None:
        raise UserError(
            f"--pool-type: found {pool_type!r}, which this Prefect does not know; expected process, or a type whose "
            f"package is installed (pip install prefect-docker, prefect-kubernetes)"
        )
    return template


def _environment(loaded: LoadedSpec, pool: str) -> dict[str, str]:
    """What each run is told: how often to give a sign of life, whose devices it shares, how patient to be."""
    return {
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(heartbeat_seconds(loaded.spec.schedule)),
        DEVICES_VARIABLE: pool,
        # Nobody waits at a terminal: an MLflow server that is away for a minute or two shall not fail the run.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
    }


def _parameters() -> dict[str, Any]:
    """The form that Prefect's page shows for a run, and checks its parameters by."""
    from prefect.utilities.callables import parameter_schema

    from flows.retrain import retrain

    return parameter_schema(retrain).model_dump_for_openapi()


def _schedules(loaded: LoadedSpec) -> list[Any]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    schedule = loaded.spec.schedule
    if not schedule.cron:
        return []
    return [DeploymentScheduleCreate(schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone))]
