"""A Prefect server for the time of one command, started while the rest of the program is still being imported.

Prefect would start the same server itself, but only at the first flow call, after importing all of it in our own
process too, and would talk on the terminal. A user's own server (`PREFECT_API_URL`, or a Prefect profile) is used as
it is. The run's history stays in Prefect's own database, where `posttrain ui` shows it later.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posttrain.errors import PosttrainError

START_SECONDS = 120.0
STOP_SECONDS = 10.0
SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Automations have no part in a run of one command; without these two services the start is quicker.
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_LOGGER_ENABLED": "false",
}
# Ends with its parent, however that ends, so that a killed run leaves no server behind.
PROGRAM = """
import os, signal, sys, threading, time
import uvicorn
parent = int(sys.argv[2])
def watch():
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=int(sys.argv[1]),
            log_level="error", lifespan="on")
"""


class PrivateServer:
    """The server's process and address; `api_url` is usable after `wait`."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self.port), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C must not end it before it has heard how the run ended
                env={
                    **os.environ,
                    **SETTINGS,
                    "PREFECT_UI_ENABLED": "0",
                    "PREFECT__SERVER_EPHEMERAL": "1",
                    "PREFECT__SERVER_FINAL": "1",
                },
            )

    def wait(self) -> None:
        """Return when the server answers. Raises `PosttrainError` when it ends or stays silent for two minutes."""
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{self.api_url}/health"):
            if self._process.poll() is not None:
                raise PosttrainError(f"Prefect's server ended with code {self._process.returncode}; see {self.log}")
            if time.monotonic() > deadline:
                raise PosttrainError(f"Prefect's server did not answer within {START_SECONDS:.0f} s; see {self.log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def prefect_server(log: Path) -> Iterator[PrivateServer | None]:
    """Begin to start a private server, or yield None when the user has one; `PREFECT_API_URL` is set on return."""
    if users_server():
        yield None
        return
    server = PrivateServer(log)
    before = os.environ.get("PREFECT_API_URL")
    os.environ["PREFECT_API_URL"] = server.api_url
    try:
        yield server
    finally:
        server.stop()
        os.environ.pop("PREFECT_API_URL")
        if before is not None:
            os.environ["PREFECT_API_URL"] = before


@contextmanager
def talking_to(api_url: str) -> Iterator[None]:
    """Prefect's clients talk to that server in here, whether Prefect has read its settings before or not."""
    os.environ["PREFECT_API_URL"] = api_url
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    from prefect.settings import PREFECT_API_URL, temporary_settings  # after the variables, which it reads once

    with temporary_settings({PREFECT_API_URL: api_url}):
        yield


def users_server() -> str | None:
    """The address of the user's own Prefect server: `PREFECT_API_URL`, or that of the active Prefect profile."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml")).expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
        return profiles["profiles"][active].get("PREFECT_API_URL") or None
    except (OSError, KeyError, AttributeError, ValueError):
        return None


def free_port(preferred: int | None = None) -> int:
    """`preferred` when nothing listens there, otherwise a port that the system gives."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PosttrainError("no free port on 127.0.0.1; close a program that listens there")


def answers(url: str) -> bool:
    """True when `url` gives a page."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
