"""`posttrain ui`: the Prefect server and the MLflow server, both in this terminal until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType

from flows.cli.failure import record
from flows.operations.prefect_server import answers, users_server
from flows.operations.quiet import settle_environment
from flows.operations.servers import (
    MLFLOW_PORT,
    PREFECT_PORT,
    START_SECONDS,
    Server,
    choose_port,
    make_logs,
    mlflow,
    prefect,
    users_mlflow,
)
from posttrain.errors import PosttrainError, UserError

STOP_SECONDS = 10.0
# Both servers start workers of their own, so each gets a process group, and a watcher ends it with this process.
WATCHER = """
import os, signal, subprocess, sys, time
child = subprocess.Popen(sys.argv[2:])
def stop(*_): child.terminate()
signal.signal(signal.SIGTERM, stop)
while child.poll() is None:
    if os.getppid() != int(sys.argv[1]):
        os.killpg(0, signal.SIGKILL)
    time.sleep(0.2)
sys.exit(child.returncode)
"""


class Attached:
    """A server that ends with this process: its process group, its address, and its log."""

    def __init__(self, server: Server) -> None:
        self.name, self.url, self.ready, self.log = server.name, server.url, server.ready, server.log
        with server.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", WATCHER, str(os.getpid()), *server.command],
                env={**os.environ, **server.variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when it answers. Raises `PosttrainError` when it ends or stays silent."""
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.ready):
            self.check()
            if time.monotonic() > deadline:
                raise PosttrainError(f"{self.name} did not answer within {START_SECONDS:.0f} s; see {self.log}")
            time.sleep(0.2)

    def check(self) -> None:
        """Raise `PosttrainError` when the server has ended."""
        if (code := self._process.poll()) is not None:
            raise PosttrainError(f"{self.name} ended with exit code {code}; see {self.log}")

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


def serve(prefect_port: int | None, mlflow_port: int | None) -> None:
    """Start what is not running already, print both addresses, and wait for Ctrl-C.

    Raises: WorkspaceError when `mlruns/` cannot be written; Failed when a server does not start.
    """
    settle_environment()
    for end in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs begin with Ctrl-C ignored
        signal.signal(end, _interrupt)
    logs = make_logs("ui")
    prefect_url, mlflow_url = users_server(), users_mlflow()
    servers: list[Attached] = []
    try:
        if not prefect_url:
            servers.append(Attached(prefect(choose_port(prefect_port, PREFECT_PORT), logs, "ui")))
        if not mlflow_url:
            servers.append(Attached(mlflow(choose_port(mlflow_port, MLFLOW_PORT), logs, "ui")))
        print("starting …", flush=True)
        for server in servers:
            server.wait()
        started = {server.name: server.url for server in servers}
        prefect_url = (prefect_url or started["Prefect"]).removesuffix("/api")
        print(f"Prefect  {prefect_url}")
        print(f"MLflow   {mlflow_url or started['MLflow']}")
        print(f"Live runs: PREFECT_API_URL={prefect_url}/api posttrain run SPEC (finished ones show without it)")
        print("Ctrl-C stops both." if servers else "Both are your own servers; nothing was started.", flush=True)
        while servers:
            for server in servers:
                server.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    except UserError:
        raise
    except PosttrainError as error:
        raise record(error) from error
    finally:
        for server in servers:
            server.stop()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
