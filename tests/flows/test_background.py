"""What was started in the background is found and ended by its mark, whatever of it was killed before."""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from flows.operations import background

FAMILY = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""


def _start(mark: str, log: Path, name: str = "family") -> background.Part:
    part = background.start(mark, name, [sys.executable, "-c", FAMILY], "http://nowhere", log)
    deadline = time.monotonic() + 30
    while "ready" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    return part


def test_a_child_in_a_session_of_its_own_is_ended_when_its_parent_was_killed(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    part = _start(mark, tmp_path / "log")
    assert part.alive
    psutil.Process(part.pid).kill()
    psutil.wait_procs(background.marked(mark), timeout=0.5)
    assert not part.alive
    (orphan,) = background.marked(mark)
    assert background.end(mark) == 1
    assert not psutil.pid_exists(orphan.pid) or orphan.status() == psutil.STATUS_ZOMBIE
    assert background.end(mark) == 0


def test_another_mark_and_another_part_are_left_alone(tmp_path: Path) -> None:
    mark, other = uuid.uuid4().hex, uuid.uuid4().hex
    parts = [_start(mark, tmp_path / "a", "a"), _start(mark, tmp_path / "b", "b"), _start(other, tmp_path / "c", "a")]
    try:
        background.end(mark, "a", parts[0].pid)
        assert [part.alive for part in parts] == [False, True, True]
    finally:
        background.end(mark)
        background.end(other)


def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path: Path) -> None:
    part = _start(mark := uuid.uuid4().hex, tmp_path / "log")
    assert not part.model_copy(update={"began": part.began - 5}).alive
    background.end(mark)
    assert not part.alive


def test_a_broken_state_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.cli.up_command import stop_all
    from posttrain.errors import WorkspaceError

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".posttrain").mkdir()
    (tmp_path / ".posttrain/up.json").write_text("{")
    with pytest.raises(WorkspaceError, match=r"up\.json: is not as `posttrain up` writes it"):
        stop_all()
