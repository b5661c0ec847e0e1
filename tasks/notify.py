"""Notify: tell people how a run ended, through the Prefect blocks that the spec names. Never fails a run.

A run that comes to an end tells it itself, as a task. A run that fails is told by a hook, which Prefect calls when the
flow has failed or crashed; the spec is then read again, since nothing of the run is left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast

from prefect import Flow, runtime, task
from prefect.blocks.core import Block
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging import get_run_logger
from prefect.logging.loggers import flow_run_logger

from posttrain import spec as specs
from posttrain.announcement import Announcement, announce, announce_failure, occasions, without_secrets
from posttrain.errors import UserError
from posttrain.outcome import Outcome
from posttrain.spec.sections.notify import NotifySpec
from posttrain.tracking import run_page
from tasks.links import flow_run_page
from tasks.policy import STAGE
from tasks.run import Run
from tasks.show import artifact


class Logger(Protocol):
    """What is asked of a run's logger."""

    def warning(self, message: str, *arguments: object) -> None: ...
    def info(self, message: str, *arguments: object) -> None: ...


def notify(run: Run, outcome: Outcome) -> Outcome:
    """Tell it when the spec names somebody who wants to know of such an end; returns `outcome` as it was."""
    if run.spec.notify.blocks and occasions(outcome) & set(run.spec.notify.ends):
        tell(run, outcome)
    return outcome


@task(name="notify", task_run_name="notify", **STAGE)
def tell(run: Run, outcome: Outcome) -> None:
    """Send one paragraph with the verdicts and links to each block."""
    told = announce(
        outcome, {"MLflow page": run_page(outcome.mlflow_run_id), "Prefect run": flow_run_page(runtime.flow_run.id)}
    )
    ends = send(run.spec.notify, told, cast(Logger, get_run_logger()))
    lines = [f"- {block}: {end}" for block, end in ends.items()]
    artifact("notify", "Who was told", "\n".join([f"**{told.subject}**\n\n{told.body}\n", *lines]))


def tell_failure(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A hook for `on_failure` and `on_crashed`: send the reason and where the run can be looked at."""
    logger = cast(Logger, flow_run_logger(flow_run, flow))
    path = str(flow_run.parameters.get("spec_path", ""))
    try:
        spec = specs.load(Path(path)).spec
    except UserError:
        logger.warning("nobody was told of the failure: %s cannot be read, so its blocks are not known", path)
        return
    if spec.notify.blocks and "failed" in spec.notify.ends:
        told = announce_failure(
            spec.name, state.message or state.name or "", {"Prefect run": flow_run_page(flow_run.id)}
        )
        send(spec.notify, told, logger)


def send(spec: NotifySpec, told: Announcement, logger: Logger) -> dict[str, str]:
    """Send to every block; block → "told", or in one line why not, which is logged too."""
    ends = {}
    for block in spec.blocks:
        try:
            _send(block, told)
        except Exception as error:  # whatever it is: a run does not fail because nobody could be told of it
            reason = " ".join(str(error).split()) or type(error).__name__
            ends[block] = f"not told ({without_secrets(reason)[:200]})"
            logger.warning("notify.blocks: %s: %s", block, ends[block])
        else:
            ends[block] = "told"
            logger.info("%s was told: %s", block, told.subject)
    return ends


def _send(name: str, told: Announcement) -> None:
    block = cast(Any, Block.load(name))
    if not hasattr(block, "notify"):
        raise UserError(f"is a {type(block).__name__}, expected a notification block such as slack-webhook/team")
    with block.raise_on_failure():
        block.notify(told.body, told.subject)
