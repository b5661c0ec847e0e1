"""A lock is held by one, waited for by others, and never left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from posttrain.file_lock import held

HOLDER = """
import os, signal, sys, time
from pathlib import Path
from posttrain.file_lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(1)
    Path(sys.argv[2]).touch()
    if sys.argv[3] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""
MANY = """
import sys
from pathlib import Path
from posttrain.file_lock import held
counter = Path(sys.argv[2])
for _ in range(100):
    with held(Path(sys.argv[1])):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def _waits(tmp_path: Path, end: str) -> int:
    lock, done = tmp_path / "locks" / "one.lock", tmp_path / "done"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock), str(done), end], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with held(lock):
        assert done.exists()
    first.stdout.close()
    assert not lock.exists()
    return first.wait(30)


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    assert _waits(tmp_path, "well") == 0


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    assert _waits(tmp_path, "killed") == -9


def test_a_file_that_is_removed_at_every_release_still_locks(tmp_path: Path) -> None:
    """The weak point of such locks: one waits on the file that another removes, a third makes it anew."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", MANY, str(tmp_path / "lock"), str(counter)]
    runs = [subprocess.Popen(command) for _ in range(4)]
    assert [run.wait(60) for run in runs] == [0] * 4
    assert counter.read_text() == "400"
