"""Whose run works in a workspace now: told by the processes that its logs, stages and locks name.

A process id may have been given to another process since; then nothing is cleaned that could be, which is the better
mistake of the two.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from posttrain.artifacts import Workspace

_LOG = re.compile(r"^run-\d{8}-\d{6}-(\d+)\.log$")


def runs_in_progress(workspace: Workspace) -> tuple[str, ...]:
    """What is going on, in words; nothing when the workspace is at rest."""
    return (*_logs(workspace.root / "logs"), *_stages(workspace.root / "partial"), *_locks(workspace.root / "locks"))


def _logs(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("run-*.log")):
        if (named := _LOG.match(path.name)) and _alive(int(named[1]), path.stat().st_mtime):
            yield f"a run of process {named[1]} ({path.name})"


def _stages(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("**/events.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # the last line may be cut off
                continue
            if event.get("kind") == "started" and _alive(int(event["pid"]), path.stat().st_mtime):
                yield f"the stage {path.relative_to(folder).parts[0]} (process {event['pid']})"


def _locks(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.lock")):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield f"a run that holds {path.name}"


def _alive(pid: int, written: float) -> bool:
    """Whether the process is there, and was when the file was last written: a younger one only has its number."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + 1)
    except psutil.Error:
        return False
