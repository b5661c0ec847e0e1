"""The watch's deployment beside that of its pipeline: every so many minutes, when the spec says so."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from posttrain.spec import LoadedSpec

ENTRYPOINT = "flows.sensor.watch"


async def deploy_watch(client: PrefectClient, loaded: LoadedSpec, pool: str, **options: Any) -> str | None:
    """Create or renew `watch/<name>`; remove it when the spec asks for none. Returns its name; None when there is none.

    `options` go to Prefect's `create_deployment`, such as `job_variables`.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.client.schemas.schedules import IntervalSchedule
    from prefect.exceptions import ObjectNotFound

    name, minutes = loaded.spec.name, loaded.spec.triggers.every_minutes
    if minutes is None:
        try:
            there = await client.read_deployment_by_name(f"watch/{name}")
        except ObjectNotFound:
            return None
        await client.delete_deployment(there.id)
        return None
    await client.create_deployment(
        flow_id=await client.create_flow_from_name("watch"),
        name=name,
        entrypoint=ENTRYPOINT,
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(loaded.root)}}],
        parameters={"spec_path": str(loaded.path)},
        schedules=[DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(minutes=minutes)))],
        work_pool_name=pool,
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        enforce_parameter_schema=False,
        description=f"starts retrain/{name} when something is new",
        tags=["posttrain", name],
        **options,
    )
    return f"watch/{name}"
