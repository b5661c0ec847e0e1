"""`posttrain ui`: the Prefect server and the MLflow server, both in this terminal until Ctrl-C."""

from __future__ import annotations

import signal
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
from posttrain.attached import Attached
from posttrain.errors import PosttrainError, UserError


class Started:
    """A server and the process in which it runs."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.process = Attached(server.command, server.log, server.variables)

    def wait(self) -> None:
        """Return when it answers. Raises `PosttrainError` when it ends or stays silent."""
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.server.ready):
            self.check()
            if time.monotonic() > deadline:
                raise PosttrainError(
                    f"{self.server.name} did not answer in {START_SECONDS:.0f} s; see {self.server.log}"
                )
            time.sleep(0.2)

    def check(self) -> None:
        """Raise `PosttrainError` when the server has ended."""
        if (code := self.process.exit_code) is not None:
            raise PosttrainError(f"{self.server.name} ended with exit code {code}; see {self.server.log}")


def serve(prefect_port: int | None, mlflow_port: int | None) -> None:
    """Start what is not running already, print both addresses, and wait for Ctrl-C.

    Raises: WorkspaceError when `mlruns/` cannot be written; Failed when a server does not start.
    """
    settle_environment()
    for end in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs begin with Ctrl-C ignored
        signal.signal(end, _interrupt)
    logs = make_logs("ui")
    prefect_url, mlflow_url = users_server(), users_mlflow()
    servers: list[Started] = []
    try:
        if not prefect_url:
            servers.append(Started(prefect(choose_port(prefect_port, PREFECT_PORT), logs, "ui")))
        if not mlflow_url:
            servers.append(Started(mlflow(choose_port(mlflow_port, MLFLOW_PORT), logs, "ui")))
        print("starting …", flush=True)
        for server in servers:
            server.wait()
        urls = {each.server.name: each.server.url for each in servers}
        prefect_url = (prefect_url or urls["Prefect"]).removesuffix("/api")
        print(f"Prefect  {prefect_url}")
        print(f"MLflow   {mlflow_url or urls['MLflow']}")
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
            server.process.stop()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
