"""A stage in its own process: what comes back, and how each kind of end is told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from posttrain.artifacts import Frozen
from posttrain.errors import DataError, OutOfMemory, StageCrashed
from posttrain.process import launch

CHILD = """
import os, signal, sys, time
from posttrain.artifacts import Frozen
from posttrain.errors import DataError
from posttrain.process import serve

class Job(Frozen):
    action: str

class Answer(Frozen):
    text: str

def run(job, progress):
    for step in range(3):
        progress(step + 1, 3, "counting")
    match job.action:
        case "answer":
            return Answer(text="42")
        case "bad data":
            raise DataError("rows.jsonl:3: not JSON")
        case "memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")
        case "bug":
            raise ZeroDivisionError("division by zero")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(60)

if __name__ == "__main__":
    serve(Job, run)
"""


class Job(Frozen):
    action: str


class Answer(Frozen):
    text: str


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "posttrain_child.py").write_text(CHILD)
    return {"PYTHONPATH": str(tmp_path)}


def ask(action: str, tmp_path: Path, environment: dict[str, str]) -> Answer:
    return launch("posttrain_child", Job(action=action), tmp_path / "stage", Answer, env=environment)


def test_the_result_and_the_progress_come_back(tmp_path: Path, environment: dict[str, str]) -> None:
    seen: list[tuple[float, float, str]] = []
    answer = launch(
        "posttrain_child",
        Job(action="answer"),
        tmp_path / "stage",
        Answer,
        lambda done, total, note="": seen.append((done, total, note)),
        environment,
    )
    assert answer.text == "42"
    assert seen[-1] == (3, 3, "counting")


def test_a_user_error_keeps_its_class_and_text(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:3: not JSON"):
        ask("bad data", tmp_path, environment)


def test_out_of_memory_is_recognised(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(OutOfMemory):
        ask("memory", tmp_path, environment)


@pytest.mark.parametrize(("action", "how"), [("killed", "SIGKILL"), ("bug", "ZeroDivisionError")])
def test_any_other_end_is_a_crash_that_says_how(
    action: str, how: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    with pytest.raises(StageCrashed, match=how):
        ask(action, tmp_path, environment)
    assert (tmp_path / "stage" / "log.txt").exists()


def test_the_child_ends_with_its_parent(tmp_path: Path, environment: dict[str, str]) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
            from pathlib import Path
            from posttrain.artifacts import Frozen
            from posttrain.process import launch
            class Job(Frozen):
                action: str
            launch("posttrain_child", Job(action="sleep"), Path({str(tmp_path / "stage")!r}), Job)
            """),
        ],
        env={**os.environ, **environment},
    )
    events = tmp_path / "stage" / "events.jsonl"
    _wait(lambda: events.exists())
    children = _children(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert children
    _wait(lambda: not any(_alive(child) for child in children))


def _wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
