"""`posttrain ui` starts both servers, and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from flows.operations.prefect_server import free_port, users_server

POSTTRAIN = str(Path(sys.executable).parent / "posttrain")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_both_servers_answer_and_end_with_the_command(tmp_path: Path, end: signal.Signals) -> None:
    if end is signal.SIGKILL:  # the same servers; it is enough to see them start
        ports = [free_port(), free_port()]
        process = _start(tmp_path, ports)
        _wait_for_children(process)
    else:
        ports = [free_port(), free_port()]
        process = _start(tmp_path, ports)
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        assert all(f"http://127.0.0.1:{port}" in said for port in ports), said
        assert "Prefect" in _page(ports[0])
        assert "MLflow" in _page(ports[1])
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4  # each server and its watcher
    process.send_signal(end)
    assert process.wait(30) == (0 if end is signal.SIGINT else -signal.SIGKILL)
    if process.stdout:
        process.stdout.close()
    _gone, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    assert free_port(ports[0]) == ports[0]


def _start(folder: Path, ports: list[int]) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))}
    return subprocess.Popen(
        [POSTTRAIN, "ui", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1])],
        cwd=folder,
        env={**environment, "PREFECT_HOME": str(folder / "prefect-home")},
        stdout=subprocess.PIPE,
        text=True,
    )


def _wait_for_children(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(psutil.Process(process.pid).children(recursive=True)) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)


def _page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as reply:
        return str(reply.read().decode())


def test_a_port_that_is_taken_is_refused_by_name(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [POSTTRAIN, "ui", "--prefect-port", str(port)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == f"error: port {port}: is taken; name another port or leave the option out\n"


def test_the_users_own_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert users_server() is None
    (tmp_path / "profiles.toml").write_text(
        'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://profile/api"\n'
    )
    assert users_server() == "http://profile/api"
    monkeypatch.setenv("PREFECT_API_URL", "http://variable/api")
    assert users_server() == "http://variable/api"
