"""`posttrain run`, and what `posttrain advise` shares with it: check first, then start a flow, its display around it.

Knows no stage; the flows in `flows/retrain.py` do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from flows.cli.failure import record
from flows.operations.prefect_server import prefect_server
from flows.operations.quiet import flush_to_server, log_to, settle_environment
from posttrain import preflight
from posttrain.artifacts import Workspace
from posttrain.errors import UserError
from posttrain.models.machine import check_devices
from posttrain.outcome import Outcome

FlowName = Literal["retrain", "advise_only"]
Show = Callable[[Console, Outcome], None]


def run_pipeline(path: Path, flow: FlowName = "retrain", show: Show | None = None) -> Outcome:
    """Check the spec, run a flow of `flows/retrain.py`, show how it ended (`show`: in a way of one's own).

    Raises: UserError before anything is written, or from the flow; Failed, with its log, for anything else.
    """
    from flows.cli.display import make_console
    from flows.cli.planning import dangers

    settle_environment()
    began = time.monotonic()
    checked = preflight.check(path)
    console = make_console()
    console.print(f"[bold]{checked.loaded.spec.name}[/bold]  {path}", highlight=False)
    for note in checked.notes:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False)
    if flow == "retrain":
        resources = checked.loaded.spec.resources
        check_devices(resources.devices, resources.processes)
    for danger in dangers(checked) if flow == "retrain" else ():
        console.print(f"warning: {danger}", style="yellow", markup=False, highlight=False)
    with run_log(checked.workspace) as log:
        outcome: Outcome = run_shown(f"flows.retrain:{flow}", path, console, log)
    _show(console, outcome, time.monotonic() - began, log, show)
    return outcome


def run_shown(flow: str, path: Path, console: Console, log: Path) -> Any:
    """Run the flow called MODULE:NAME on the spec, its display on the console; returns the flow's result."""
    from flows.cli.display import Display

    module, name = flow.split(":")
    with prefect_server(log) as server, Display(console) as display:
        display.waiting("Prefect is starting…")
        started = getattr(
            import_module(module), name
        )  # seconds of imports pass while the server starts, as do MLflow's
        from posttrain.tracking import quiet_mlflow
        from tasks.watch import listen

        quiet_mlflow()
        log_to(log)
        if server:
            server.wait()
        listen(display)
        try:
            return started(str(path))
        finally:
            flush_to_server()


def _show(console: Console, outcome: Outcome, seconds: float, log: Path, show: Show | None) -> None:
    from flows.cli.display import show_outcome
    from posttrain.wording import duration

    (show or show_outcome)(console, outcome)
    unchanged = f", {len(outcome.reused)} stages unchanged" if outcome.reused else ""
    console.print(f"{duration(seconds)}{unchanged}; log: {log}", style="dim", highlight=False, soft_wrap=True)


@contextmanager
def run_log(workspace: Workspace) -> Iterator[Path]:
    """This run's log file; a refused run takes it away again together with the folders made for it."""
    made = [folder for folder in (workspace.root / "logs", workspace.root) if not folder.exists()]
    log = workspace.root / "logs" / f"run-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield log
    except UserError:
        log.unlink(missing_ok=True)
        for folder in made:
            _remove_if_empty(folder)
        raise
    except Exception as error:
        raise record(error, log) from error


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # a finished stage lies in it
        return
