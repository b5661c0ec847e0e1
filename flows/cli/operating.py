"""The commands that keep it going: servers, deployments, the sensor, and tidying up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.guard import guarded
from flows.cli.options import Pool, Spec

commands = typer.Typer()


@commands.command(epilog="Example: posttrain up pipelines/voice_assistant.yaml")
@guarded
def up(
    specs: Annotated[list[Path], typer.Argument(metavar="SPEC...", help="Pipelines' YAML files.", show_default=False)],
    pool: Pool = "posttrain",
    prefect_port: Annotated[int | None, typer.Option(help="Prefect's port; else 4200, or a free one.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="MLflow's port; else 5000, or a free one.")] = None,
) -> None:
    """Start all that scheduled runs need here, in the background: Prefect, MLflow, a worker, the deployments.

    Run it again to start what has died meanwhile; `posttrain down` ends all of it.
    """
    from flows.cli.up_command import start_all

    start_all(specs, pool, prefect_port, mlflow_port)


@commands.command(epilog="Example: posttrain down")
@guarded
def down() -> None:
    """End what `posttrain up` started in this folder, and nothing else."""
    from flows.cli.up_command import stop_all

    stop_all()


@commands.command(epilog="Example: posttrain ui --prefect-port 4201 --mlflow-port 5001")
@guarded
def ui(
    prefect_port: Annotated[int | None, typer.Option(help="Prefect's port; else 4200, or a free one.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="MLflow's port; else 5000, or a free one.")] = None,
) -> None:
    """Start the Prefect server and the MLflow server and print both addresses; Ctrl-C stops both."""
    from flows.cli.ui_command import serve

    serve(prefect_port, mlflow_port)


@commands.command(epilog="Example: posttrain deploy pipelines/voice_assistant.yaml --pool posttrain")
@guarded
def deploy(
    spec: Spec,
    pool: Pool = "posttrain",
    pool_type: Annotated[
        str, typer.Option(help="The type of the work pool, when it is made: process, docker or kubernetes.")
    ] = "process",
    devices: Annotated[
        int | None, typer.Option(help="How many GPUs the worker's machine has; else as many as this one.", min=1)
    ] = None,
) -> None:
    """Register the spec's schedule with a Prefect server, so that its worker retrains by itself."""
    from flows.operations.deploy import deploy_spec

    deploy_spec(spec, pool, pool_type, devices)


@commands.command(epilog="Example: posttrain watch pipelines/voice_assistant.yaml")
@guarded
def watch(spec: Spec) -> None:
    """Look once whether data, answers or requests are new; if so, start the deployed pipeline."""
    from flows.cli.watch_command import watch_once

    watch_once(spec)


@commands.command(epilog="Example: posttrain clean pipelines/voice_assistant.yaml --older-than 30d")
@guarded
def clean(
    spec: Spec,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Only what was last used so long ago.")] = "30d",
    keep: Annotated[int, typer.Option(help="Keep what so many newest runs of each pipeline used.", min=1)] = 3,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only listed.")] = False,
) -> None:
    """List old checkpoints, stage folders and MLflow artifacts that nobody needs, with sizes; --yes removes them."""
    from flows.cli.clean_command import clean as clean_up

    clean_up(spec, older_than, keep, yes)
