"""Programs that go on when the command that started them has ended, and how all that came of them is ended later.

Each is started with a mark in its environment, which every process that it starts inherits. So whatever was killed
meanwhile, what is left is found by its mark, and nothing else is touched. Knows nothing of what the programs do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from posttrain.artifacts import Frozen

MARK, PART = "POSTTRAIN_UP", "POSTTRAIN_UP_PART"
STOP_SECONDS = 15.0
_started: list[subprocess.Popen[bytes]] = []
"""Kept, or Python would complain, rightly for others, that nobody waits for them."""


class Part(Frozen):
    """A program in the background: its name, its first process and when that began, its address, its log."""

    name: str
    pid: int
    began: float
    url: str
    log: str

    @property
    def alive(self) -> bool:
        """Whether its first process still runs; another process that has its number now does not count."""
        try:
            process = psutil.Process(self.pid)
            return bool(process.create_time() == self.began and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def start(
    mark: str, name: str, command: Sequence[str], url: str, log: Path, variables: Mapping[str, str] | None = None
) -> Part:
    """Start a program in a session of its own, its output appended to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(variables or {}), MARK: mark, PART: name},
        )
    _started.append(process)
    return Part(name=name, pid=process.pid, began=psutil.Process(process.pid).create_time(), url=url, log=str(log))


def marked(mark: str, name: str | None = None) -> list[psutil.Process]:
    """Every living process that came of a start with this mark, or of that of one part."""
    return [
        process
        for process, environment in _environments()
        if environment.get(MARK) == mark and name in (None, environment.get(PART))
    ]


def has_variable(name: str, value: str) -> bool:
    """Whether any process of this user was started with that variable."""
    return any(environment.get(name) == value for _, environment in _environments())


def end(mark: str, name: str | None = None, first: int | None = None) -> int:
    """End every such process, politely for `STOP_SECONDS` where `first` leads them; how many there were."""
    found = marked(mark, name)
    for process in found:
        if process.pid == first:
            _signal(process, signal.SIGTERM)
            psutil.wait_procs(found, timeout=STOP_SECONDS)
    deadline = time.monotonic() + STOP_SECONDS
    while left := marked(mark, name):  # again: a process may have started another meanwhile
        for process in left:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=1)
        if time.monotonic() > deadline:
            break
    return len(found)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass


def _environments() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process, process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):  # gone, or another user's
            continue
