"""`posttrain clean`: what nobody needs any more, with its size and why; removed only when asked to."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from flows.operations.quiet import settle_environment
from posttrain import spec as specs
from posttrain.cleaning import Leftover, find_leftovers, remove, runs_in_progress
from posttrain.errors import SpecError, WorkspaceError
from posttrain.preflight import workspace_of
from posttrain.spec import LoadedSpec

if TYPE_CHECKING:
    from posttrain.registry.unneeded import OldRun

UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0}
SIZES = ("B", "kB", "MB", "GB", "TB")


def clean(path: Path, older_than: str, keep: int, yes: bool) -> None:
    """List what can go; with `yes`, remove it.

    Raises: SpecError for a wrong spec or age; WorkspaceError when a run is in progress, and when MLflow does not
    answer: what it needs is not known then.
    """
    from flows.cli.display import make_console

    settle_environment()
    loaded, age = specs.load(path), seconds_of(older_than)
    workspace = workspace_of(loaded)
    busy = runs_in_progress(workspace)
    if busy and yes:
        raise WorkspaceError(f"{workspace.root}: in use by {busy[0]}; nothing was removed; clean when it has ended")
    needed, old = _in_mlflow(loaded, age, keep)
    found = find_leftovers(workspace, age, keep, needed)
    console = make_console()
    for note in busy:
        console.print(f"note: {note} is in progress; --yes would remove nothing", style="yellow", markup=False)
    artifacts = [
        Leftover("MLflow artifacts", run.name, run.size, f"ended {_date(run.ended)}; no registered version needs them")
        for run in old
    ]
    everything = [*found, *artifacts]
    if not everything:
        console.print(f"Nothing to clean: all is newer than {older_than}, or needed.", highlight=False)
        return
    console.print(_table(everything, workspace.root))
    total = f"{len(everything)} in all, {size_in_words(sum(each.size for each in everything))}"
    if not yes:
        console.print(f"{total}. Nothing was removed; --yes removes them.", highlight=False)
        return
    for leftover in found:
        remove(leftover)
    for run in old:
        from posttrain.registry.unneeded import remove_artifacts

        remove_artifacts(run)
    console.print(f"{total}: removed.", highlight=False)


def seconds_of(age: str) -> float:
    """30d, 12h or 90m in seconds. Raises: SpecError."""
    if not (told := re.fullmatch(r"(\d+)([dhm])", age.strip())):
        raise SpecError(f"--older-than: found {age!r}, expected a number of days, hours or minutes; write 30d or 12h")
    return int(told[1]) * UNITS[told[2]]


def size_in_words(size: float) -> str:
    """1.2 GB."""
    for unit in SIZES[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {SIZES[-1]}"


def _in_mlflow(loaded: LoadedSpec, age: float, keep: int) -> tuple[list[str], list[OldRun]]:
    """What versions with an alias need, and the old runs; nothing when there is no store yet."""
    local = "MLFLOW_TRACKING_URI" not in os.environ
    if local and not (loaded.root / "mlruns" / "mlflow.db").is_file():
        return [], []
    from posttrain.registry import find, unneeded

    find.open_store(loaded.root)
    return unneeded.needed_by_versions(), unneeded.old_runs(loaded.spec.name, age, keep)


def _table(found: list[Leftover], root: Path) -> Table:
    table = Table(title="What can go", title_justify="left", title_style="bold", header_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("where", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for each in sorted(found, key=lambda one: -one.size):
        where = each.place.removeprefix(f"{root}/")
        table.add_row(each.kind, Text(where), size_in_words(each.size), Text(each.why))
    return table


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
