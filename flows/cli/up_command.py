"""`posttrain up` and `posttrain down`: all that scheduled runs need on this machine, in the background.

A Prefect server, an MLflow server, a worker, and a deployment of each spec. What runs is noted in `.posttrain/up.json`;
a second `up` starts only what has died, `down` ends what `up` started and nothing else.
"""

from __future__ import annotations

import asyncio
import platform
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from flows.cli.failure import record
from flows.operations import background
from flows.operations.background import Part
from flows.operations.deploy import Deployed, deploy
from flows.operations.lost_runs import resume_lost_here
from flows.operations.prefect_server import answers, talking_to, users_server
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
from posttrain import preflight
from posttrain.artifacts import Frozen, write_atomic
from posttrain.errors import PosttrainError, UserError, WorkspaceError
from posttrain.file_lock import held

STATE = Path(".posttrain/up.json")
LOCK = Path(".posttrain/up.lock")
WORKER = "worker"
# Scheduled runs go without these two services nowhere; lost runs are found by them.
SERVICES = {
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "true",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "true",
    # In its memory a server forgets who holds a device when it is started anew: the device would be taken for ever, and
    # the run that has it stopped.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


class Up(Frozen):
    """What `up` started here; `mark` is in the environment of all of it."""

    mark: str
    parts: tuple[Part, ...] = ()

    def part(self, name: str) -> Part | None:
        """The part of that name, dead or alive."""
        return next((part for part in self.parts if part.name == name), None)

    def having(self, part: Part) -> Up:
        """The same with this part in place of that of its name; written to the state's file."""
        others = tuple(each for each in self.parts if each.name != part.name)
        changed = self.model_copy(update={"parts": (*others, part)})
        changed.save()
        return changed

    def save(self) -> None:
        """Write the state's file."""
        write_atomic(STATE, self.model_dump_json(indent=2) + "\n")


def start_all(specs: Sequence[Path], pool: str, prefect_port: int | None, mlflow_port: int | None) -> None:
    """Start what is not running here, deploy the specs, print the addresses, and leave it running.

    Raises: UserError for a wrong spec, before anything is started, for a port that is taken, and for a server of the
    user's that does not answer; Failed when something does not start.
    """
    settle_environment()
    checked = [preflight.check(path).loaded for path in specs]
    logs = make_logs("up")
    with held(LOCK):
        try:
            up = _load() or Up(mark=uuid.uuid4().hex)
            up.save()
            print("starting …", flush=True)
            up, prefect_url = _server(up, "Prefect", users_server(), prefect, prefect_port, PREFECT_PORT, logs)
            up, mlflow_url = _server(up, "MLflow", users_mlflow(), mlflow, mlflow_port, MLFLOW_PORT, logs)
            api = f"{prefect_url.removesuffix('/').removesuffix('/api')}/api"
            _await(up, f"{api}/health", "Prefect")
            _await(up, f"{mlflow_url}/health", "MLflow")
            with talking_to(api):
                deployed = [deploy(loaded, api, pool) for loaded in checked]
                up = _worker(up, pool, api, mlflow_url, logs)
                for _ in range(asyncio.run(resume_lost_here(pool, _here()))):
                    print("a run whose process is gone goes on from where it stopped")
        except UserError:
            raise
        except PosttrainError as error:
            raise record(error) from error
    _show(api.removesuffix("/api"), mlflow_url, deployed)


def stop_all() -> None:
    """End everything that `up` started in this folder; a run that goes on is resumed by the next `up`."""
    if not STATE.exists():
        print("nothing is up here")
        return
    with held(LOCK):
        up = _load()
        ended = 0
        for name in (WORKER, "MLflow", "Prefect") if up else ():
            part = up.part(name) if up else None
            ended += background.end(up.mark, name, part.pid if part and part.alive else None) if up else 0
        if up:
            ended += background.end(up.mark)
        STATE.unlink(missing_ok=True)
    print(f"stopped: {ended} processes" if ended else "nothing was running any more")


def _load() -> Up | None:
    try:
        return Up.model_validate_json(STATE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise WorkspaceError(
            f"{STATE}: is not as `posttrain up` writes it ({str(error).splitlines()[0]}); end its processes by hand "
            "and remove the file"
        ) from error


def _server(
    up: Up,
    name: str,
    users: str | None,
    make: Callable[[int, Path, str], Server],
    asked: int | None,
    usual: int,
    logs: Path,
) -> tuple[Up, str]:
    """The user's server, else the one that is up, else a new one, where the last one of the kind was if it can be.

    Raises: WorkspaceError when the port that was asked for is taken.
    """
    before = up.part(name)
    if users and not (before and users.startswith(before.url)):
        return up, users
    if before and before.alive:
        return up, before.url
    background.end(up.mark, name)  # what a killed server left behind holds its port
    last = int(before.url.rsplit(":", 1)[1]) if before else usual
    server = make(choose_port(asked, last), logs, "up")
    variables = {**server.variables, **(SERVICES if name == "Prefect" else {})}
    part = background.start(up.mark, name, server.command, server.url, server.log, variables)
    return up.having(part), server.url


def _await(up: Up, page: str, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    part = up.part(name)
    while not answers(page):
        if not part or not page.startswith(part.url):
            variable = "PREFECT_API_URL" if name == "Prefect" else "MLFLOW_TRACKING_URI"
            raise UserError(
                f"{variable}: nothing answers at {page}; start that server, or unset it and use one of `up`"
            )
        if not part.alive:
            raise PosttrainError(f"{name} ended at once; see {part.log}")
        if time.monotonic() > deadline:
            raise PosttrainError(f"{name} did not answer within {START_SECONDS:.0f} s; see {part.log}")
        time.sleep(0.2)


def _worker(up: Up, pool: str, api: str, mlflow_url: str, logs: Path) -> Up:
    """The worker that is up, else a new one. A killed worker's runs go on: they are left alone."""
    before = up.part(WORKER)
    if before and before.alive and before.url == pool:
        return up
    if before and before.alive:
        raise WorkspaceError(
            f"--pool: found {pool!r}, but a worker of {before.url!r} is up; run `posttrain down` first"
        )
    name = f"{_here()}{uuid.uuid4().hex[:6]}"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", name]
    variables = {"PREFECT_API_URL": api, "MLFLOW_TRACKING_URI": mlflow_url, "PREFECT_LOGGING_LEVEL": "INFO"}
    up = up.having(background.start(up.mark, WORKER, command, pool, logs / "up-worker.log", variables))
    part = up.parts[-1]
    deadline = time.monotonic() + START_SECONDS
    while name not in asyncio.run(_workers(pool)):
        if not part.alive or time.monotonic() > deadline:
            raise PosttrainError(f"the worker did not start; see {part.log}")
        time.sleep(0.5)
    return up


def _here() -> str:
    """How the names of this machine's workers begin."""
    return f"up on {platform.node()}, "


async def _workers(pool: str) -> set[str]:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        return {worker.name for worker in await client.read_workers_for_work_pool(pool)}


def _show(prefect_url: str, mlflow_url: str, deployed: Sequence[Deployed]) -> None:
    print(f"Prefect  {prefect_url}")
    print(f"MLflow   {mlflow_url}")
    for each in deployed:
        print(f"{each.name}: {each.when}")
    if deployed:
        print(f"Run one now: PREFECT_API_URL={prefect_url}/api prefect deployment run {deployed[0].name}")
    print("posttrain down ends all of it.", flush=True)
