"""A stage in its own process: what comes back, and how each kind of end is told apart."""

from __future__ import annotations

import json
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
from pathlib import Path
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
        case "disk":
            Path(os.environ["FILL"]).write_bytes(bytes(2**26))
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(60)
        case "the second fails":
            if os.environ["RANK"] == "1":
                raise DataError("rows.jsonl:3: not JSON")
            time.sleep(60)
        case "both answer":
            return Answer(text=os.environ["RANK"])

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


def test_a_child_that_met_a_full_disk_says_so(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its own words cannot be written: not the traceback, nor the class of its error."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        filler = small / "filler"
        with pytest.raises(OSError, match="No space left on device"):
            launch(
                "posttrain_child", Job(action="disk"), small / "stage", Answer, env={**environment, "FILL": str(filler)}
            )
    finally:
        subprocess.run(["umount", str(small)], check=True)


TWO = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
num_machines: 1
num_processes: 2
machine_rank: 0
main_process_port: 0
mixed_precision: "no"
"""


def in_two(action: str, tmp_path: Path, environment: dict[str, str]) -> Answer:
    together = tmp_path / "accelerate.yaml"
    together.write_text(TWO)
    return launch("posttrain_child", Job(action=action), tmp_path / "stage", Answer, env=environment, together=together)


def started(stage: Path) -> list[int]:
    """Process ids that have noted their start."""
    events = stage / "events.jsonl"
    lines = events.read_text().splitlines() if events.exists() else []
    return [event["pid"] for event in map(json.loads, lines) if event["kind"] == "started"]


def test_of_two_processes_the_first_tells_the_result(tmp_path: Path, environment: dict[str, str]) -> None:
    assert in_two("both answer", tmp_path, environment).text == "0"
    assert len(started(tmp_path / "stage")) == 2


def test_of_two_processes_either_tells_its_error_and_ends_the_other(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    began = time.monotonic()
    with pytest.raises(DataError, match=r"rows\.jsonl:3: not JSON"):
        in_two("the second fails", tmp_path, environment)
    assert time.monotonic() - began < 50  # the first would have slept for a minute
    _wait(lambda: not any(_alive(rank) for rank in started(tmp_path / "stage")))


def test_two_processes_end_with_the_parent_of_their_launcher(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "accelerate.yaml").write_text(TWO)
    program = f"""
        from pathlib import Path
        from posttrain.artifacts import Frozen
        from posttrain.process import launch
        class Job(Frozen):
            action: str
        launch("posttrain_child", Job(action="sleep"), Path({str(tmp_path / "stage")!r}), Job,
               together=Path({str(tmp_path / "accelerate.yaml")!r}))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env={**os.environ, **environment})
    _wait(lambda: len(started(tmp_path / "stage")) == 2, 120)
    children = {*_children(parent.pid), *started(tmp_path / "stage")}
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert len(children) == 3  # the launcher and its two
    _wait(lambda: not any(_alive(child) for child in children))


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
