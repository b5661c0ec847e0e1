"""The Prefect server and the MLflow server on this machine: what starts them, where they answer, what they store.

`posttrain ui` keeps them in its terminal, `posttrain up` in the background; this knows of neither. Databases and the
place of artifacts come from the variables that Prefect and MLflow read themselves, so no password is on a command line.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from flows.operations.prefect_server import free_port
from posttrain.errors import WorkspaceError

PREFECT_PORT, MLFLOW_PORT = 4200, 5000
START_SECONDS = 180.0
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Server:
    """A server that may be started: its command and further variables, its address, a page that is ready with it."""

    name: str
    command: list[str]
    url: str
    ready: str
    log: Path
    variables: dict[str, str] = field(default_factory=dict)


def prefect(port: int, logs: Path, label: str) -> Server:
    """Prefect's server; its database is `PREFECT_API_DATABASE_CONNECTION_URL`, else SQLite in `PREFECT_HOME`."""
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    return Server("Prefect", command, url, f"{url}/api/health", logs / f"{label}-prefect.log")


def mlflow(port: int, logs: Path, label: str) -> Server:
    """MLflow's server; its database is `MLFLOW_BACKEND_STORE_URI`, else `MLFLOW_TRACKING_URI`, else in `mlruns/`.

    Artifacts go to `MLFLOW_ARTIFACTS_DESTINATION`, else to `mlruns/artifacts`.
    """
    url = f"http://{HOST}:{port}"
    here = f"sqlite:///{Path('mlruns/mlflow.db').resolve()}"
    tracking = os.environ.get("MLFLOW_TRACKING_URI")
    variables = {
        "MLFLOW_BACKEND_STORE_URI": os.environ.get("MLFLOW_BACKEND_STORE_URI")
        or (tracking if tracking and not tracking.startswith(("http://", "https://")) else here),
        "MLFLOW_ARTIFACTS_DESTINATION": os.environ.get("MLFLOW_ARTIFACTS_DESTINATION")
        or str(Path("mlruns/artifacts").resolve()),
        # Jobs serve MLflow's GenAI judges, not us.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": os.environ.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    return Server("MLflow", command, url, f"{url}/health", logs / f"{label}-mlflow.log", variables)


def users_mlflow() -> str | None:
    """The address of the user's own MLflow server."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if uri.startswith(("http://", "https://")) else None


def make_logs(command: str) -> Path:
    """The folder of the servers' logs. Raises: WorkspaceError when it or `mlruns/` cannot be made."""
    folder = Path(".posttrain/logs")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path("mlruns").mkdir(exist_ok=True)
    except OSError as error:
        raise WorkspaceError(
            f"{error.filename}: cannot be made ({error.strerror}); run `posttrain {command}` in a folder that is "
            "writable"
        ) from error
    return folder


def choose_port(asked: int | None, usual: int) -> int:
    """The port asked for, else the usual one, else a free one. Raises: WorkspaceError when the asked one is taken."""
    port = free_port(asked or usual)
    if asked and port != asked:
        raise WorkspaceError(f"port {asked}: is taken; name another port or leave the option out")
    return port
