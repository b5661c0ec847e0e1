"""A server of another project that lives no longer than this process: started, asked whether it lives, ended.

Such a server cannot be taught to end with its parent, and workers of its own would outlive it. So it gets a process
group led by a watcher, `python -m posttrain.attached PARENT COMMAND…`, which ends the whole group as soon as the parent
is gone, however that ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
"""Time to end by itself; then its group is killed."""


class Attached:
    """A running server; its output is appended to `log`, `variables` are added to the environment."""

    def __init__(self, command: Sequence[str], log: Path, variables: Mapping[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(os.getpid()), *command],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End the server and every worker of it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()


def watch(parent: int, command: Sequence[str]) -> int:
    """Run the command; returns its exit code. SIGTERM is passed on to it."""
    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda signum, frame: child.terminate())
    while (code := child.poll()) is None:
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    return code


if __name__ == "__main__":
    sys.exit(watch(int(sys.argv[1]), sys.argv[2:]))
