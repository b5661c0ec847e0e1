"""`posttrain up` and `down` with real servers, on SQLite and on PostgreSQL: one life of a deployment, told in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from postgres import running

from flows.operations import background

pytestmark = pytest.mark.servers
SPEC = """\
name: nightly
task: {kind: intent_slots, instruction: "Turn the command into JSON: intent and slots."}
data:
  train: [{path: train.jsonl.gz, format: intent_slots}]
  test: [{path: test.jsonl.gz, format: intent_slots}]
curate: {validation_rows: 14}
evaluate: {baseline_rows: 14, few_shot_examples: 0, max_new_tokens: 40, resamples: 200}
strategy: {targets: {valid_json: 0.0}, min_rows: 10}
schedule: {cron: "0 3 * * 1", timezone: Europe/Berlin, overlap: skip, lost_after_seconds: 90}
"""
VARIABLES = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "160",
}


@dataclass
class Up:
    """A folder in which `posttrain up` has run."""

    folder: Path
    variables: dict[str, str]

    def posttrain(self, *words: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))}
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *words],
            cwd=self.folder,
            env={**kept, **VARIABLES, "PREFECT_HOME": str(self.folder / "prefect-home"), **self.variables},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def up(self, *specs: str) -> str:
        done = self.posttrain("up", *(specs or ("nightly.yaml",)))
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / ".posttrain/up.json").read_text()))

    def part(self, name: str) -> dict[str, Any]:
        return dict(next(part for part in self.state["parts"] if part["name"] == name))

    def pids(self) -> dict[str, int]:
        return {part["name"]: part["pid"] for part in self.state["parts"]}

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return httpx.request(method, f"{self.part('Prefect')['url']}/api{path}", json=body, timeout=30)

    def found(self, path: str, body: Any) -> list[dict[str, Any]]:
        return list(self.api("POST", path, body).json())

    def await_state(self, run: str, *wanted: str) -> dict[str, Any]:
        deadline = time.monotonic() + 300
        while (run_now := self.api("GET", f"/flow_runs/{run}").json())["state_type"] not in wanted:
            assert time.monotonic() < deadline, f"{run_now['state']}, expected {wanted}"
            time.sleep(0.3)
        return dict(run_now)


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables that name both databases; none: SQLite, where Prefect and MLflow put it themselves."""
    if request.param == "sqlite":
        yield {}
        return
    pytest.importorskip("psycopg2")
    # Not below pytest's own folder: another session would close that one to PostgreSQL's user.
    with tempfile.TemporaryDirectory(prefix="posttrain-") as place, running(Path(place) / "database") as url:
        yield {
            "PREFECT_API_DATABASE_CONNECTION_URL": url.replace("postgresql://", "postgresql+asyncpg://"),
            "MLFLOW_BACKEND_STORE_URI": _another_database(url, "mlflow"),
            "MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path / "artifacts"),
        }


def _another_database(url: str, name: str) -> str:
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    # The driver is named: for SQLAlchemy 2.1 a bare postgresql:// means psycopg 3.
    return url.replace("postgresql://", "postgresql+psycopg2://").rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture
def up(tmp_path: Path, stores: dict[str, str]) -> Iterator[Up]:
    """Nothing of it is left when the test has ended, however it ended."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "nightly.yaml").write_text(SPEC, encoding="utf-8")
    _few_rows(folder)
    made = Up(folder, stores)
    try:
        yield made
    finally:
        made.posttrain("down")


def _few_rows(folder: Path, more: int = 0) -> None:
    from conftest import DATA, _some_of_each_intent

    for split, rows in (("train", 8 + more), ("test", 3)):
        _some_of_each_intent(DATA / f"voice_assistant/{split}.jsonl.gz", folder / f"{split}.jsonl.gz", rows)


def test_a_deployment_lives_through_kills(up: Up, stores: dict[str, str]) -> None:
    said = up.up()
    assert up.part("Prefect")["url"] in said
    assert up.part("MLflow")["url"] in said
    assert "retrain/nightly: runs at 0 3 * * 1 (Europe/Berlin)" in said
    deployment = up.api("GET", "/deployments/name/retrain/nightly").json()
    _is_as_the_spec_says(up, deployment)

    before = up.pids()
    up.up()
    assert up.pids() == before, "a second `up` starts nothing that is alive"

    first, second = (_schedule(up, deployment["id"]) for _ in range(2))
    running_now = up.await_state(first, "RUNNING", "CANCELLED")
    if running_now["state_type"] == "CANCELLED":  # the worker took them the other way round
        first, second = second, first
        up.await_state(first, "RUNNING")
    assert up.await_state(second, "CANCELLED")["state"]["message"] == "Deployment concurrency limit reached."

    for name in ("worker", "MLflow"):
        for process in background.marked(up.state["mark"], name):
            process.kill()
    said = up.up()
    assert "a run whose process is gone goes on from where it stopped" in said
    assert up.pids()["Prefect"] == before["Prefect"]
    assert up.pids()["worker"] != before["worker"]
    resumed = up.await_state(first, "COMPLETED", "FAILED")
    assert (resumed["state_type"], resumed["run_count"]) == ("COMPLETED", 2), resumed["state"]
    assert _experiments(up) >= {"nightly"}
    if stores:
        assert not (up.folder / "prefect-home/prefect.db").exists()
        assert not (up.folder / "mlruns/mlflow.db").exists()

    psutil.Process(up.pids()["Prefect"]).kill()
    mark = up.state["mark"]
    done = up.posttrain("down")
    assert (done.returncode, done.stdout[:8]) == (0, "stopped:"), done.stderr
    assert background.marked(mark) == []
    assert up.posttrain("down").stdout == "nothing is up here\n"


@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
def test_a_server_that_is_started_anew_knows_who_holds_the_device(up: Up) -> None:
    up.up()
    deployment = up.api("GET", "/deployments/name/retrain/nightly").json()["id"]
    run = _schedule(up, deployment)
    deadline = time.monotonic() + 200
    while not _stages(up):  # it holds the device
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for process in background.marked(up.state["mark"], "Prefect"):
        process.kill()
    up.up()
    ended = up.await_state(run, *FINAL)
    assert (ended["state_type"], ended["run_count"]) == ("COMPLETED", 1), ended["state"]
    _few_rows(up.folder, more=1)
    assert up.await_state(_schedule(up, deployment), *FINAL)["state_type"] == "COMPLETED"
    limits = up.found("/v2/concurrency_limits/filter", {})
    assert {each["active_slots"] for each in limits} == {0}


@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
def test_runs_of_one_pipeline_queue_and_two_pipelines_share_a_device(up: Up) -> None:
    """Three runs are due at once on one CPU: all end well, and never do two of their stages compute together."""
    queued = SPEC.replace("overlap: skip", "overlap: queue")
    (up.folder / "nightly.yaml").write_text(queued, encoding="utf-8")
    (up.folder / "hourly.yaml").write_text(queued.replace("name: nightly", "name: hourly"), encoding="utf-8")
    up.up("nightly.yaml", "hourly.yaml")
    nightly, hourly = (
        up.api("GET", f"/deployments/name/retrain/{name}").json()["id"] for name in ("nightly", "hourly")
    )
    runs = [_schedule(up, nightly), _schedule(up, nightly), _schedule(up, hourly)]
    together: list[tuple[int, frozenset[str]]] = []  # stages that compute, flow runs that are begun
    deadline = time.monotonic() + 400
    while not FINAL.issuperset(states := [_state(up, run) for run in runs]):
        assert time.monotonic() < deadline, states
        begun = frozenset(run for run, state in zip(runs, states, strict=True) if state == "RUNNING")
        together.append((len(_stages(up)), begun))
        time.sleep(0.2)
    assert states == ["COMPLETED"] * 3
    assert max(stages for stages, _ in together) == 1
    assert any(len(begun) == 2 for _, begun in together), "both pipelines had begun, and one waited for the device"
    assert not any({*runs[:2]} <= begun for _, begun in together), "two runs of one pipeline never overlap"


FINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


def _state(up: Up, run: str) -> str:
    return str(up.api("GET", f"/flow_runs/{run}").json()["state_type"])


def _stages(up: Up) -> set[str]:
    """The stages' processes that compute now, by their job."""
    found = set()
    for process in background.marked(up.state["mark"], "worker"):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(word.startswith("posttrain.") for word in words):
            found.add(words[-1])
    return found


def _is_as_the_spec_says(up: Up, deployment: dict[str, Any]) -> None:
    (schedule,) = deployment["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 3 * * 1", "Europe/Berlin")
    assert deployment["tags"] == ["posttrain", "nightly"]
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert deployment["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    form = deployment["parameter_openapi_schema"]["properties"]["spec_path"]
    assert form["description"] == "The pipeline's YAML file, as the worker's machine sees it."
    wrong = up.api(
        "POST", f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"spec_path": "rows.csv"}}
    )
    assert wrong.status_code == 409, wrong.text
    names = {each["name"] for each in up.found("/automations/filter", {})}
    assert names == {"posttrain: find lost runs of nightly", "posttrain: resume lost runs of nightly"}
    assert "posttrain-device:posttrain:0" in {each["name"] for each in up.found("/v2/concurrency_limits/filter", {})}


def _schedule(up: Up, deployment: str) -> str:
    body = {"state": {"type": "SCHEDULED", "name": "Scheduled"}}
    return str(up.api("POST", f"/deployments/{deployment}/create_flow_run", body).json()["id"])


def _experiments(up: Up) -> set[str]:
    url = f"{up.part('MLflow')['url']}/api/2.0/mlflow/experiments/search"
    return {each["name"] for each in httpx.post(url, json={"max_results": 100}, timeout=30).json()["experiments"]}
