"""Runs a server for as long as the process that wants it lives: `python -m posttrain.serving.watcher PARENT COMMAND…`.

A server of another project cannot be taught to end with its parent, and its own workers would outlive it. So it gets a
process group led by this watcher, which ends the whole group as soon as the parent is gone, however that ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

POLL_SECONDS = 0.2


def watch(parent: int, command: list[str]) -> int:
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
