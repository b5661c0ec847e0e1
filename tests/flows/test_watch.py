"""The watch at a real Prefect server: it starts the deployed pipeline once for the same news, and else ends at once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.operations.deploy import deploy
from flows.operations.quiet import TALKERS
from posttrain import preflight

SPEC = """\
name: tickets
task: {kind: text}
data: {train: data/train.jsonl, test: data/test.jsonl}
triggers: {every_minutes: 30, new_rows: 5}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with prefect_test_harness(server_startup_timeout=180):
        yield str(PREFECT_API_URL.value())


@pytest.fixture
def project(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", server)
    (tmp_path / "data").mkdir()
    write_rows(tmp_path, 30)
    (tmp_path / "data/test.jsonl").write_text((tmp_path / "data/train.jsonl").read_text(encoding="utf-8"))
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    loggers = [logging.getLogger(name) for name in ("", *TALKERS)]
    before = [(logger, list(logger.handlers), logger.propagate) for logger in loggers]
    yield tmp_path
    logging.captureWarnings(False)
    for logger, handlers, propagate in before:  # the command sends them to a file of its own
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers[:], logger.propagate = handlers, propagate


def write_rows(root: Path, count: int) -> None:
    lines = [json.dumps({"prompt": f"question {number}", "completion": f"answer {number}"}) for number in range(count)]
    (root / "data/train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def posttrain(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def watched() -> str:
    done = posttrain("watch", "spec.yaml")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return done.stdout.strip()


def runs(flow: str = "retrain") -> list[FlowRun]:
    """Flow runs that wait for a worker; those that a schedule made are not among them."""
    with get_client(sync_client=True) as client:
        flows = {each.id: each.name for each in client.read_flows()}
        found = [run for run in client.read_flow_runs() if flows[run.flow_id] == flow]
    return [run for run in found if not run.auto_scheduled]


def test_what_is_not_deployed_is_refused_in_one_line(project: Path) -> None:
    done = posttrain("watch", "spec.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: retrain/tickets: is not deployed at this Prefect server; run `posttrain deploy spec.yaml`\n"
    )
    assert not (project / ".posttrain/watch").exists()


def test_a_deployment_goes_to_the_named_server_whichever_prefect_knew_before(project: Path, server: str) -> None:
    """Another one notices none of its automations: a lost run would stay lost."""
    loaded = preflight.check(Path("spec.yaml")).loaded
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert deploy(loaded, server, "elsewhere").name == "retrain/tickets"
    with get_client(sync_client=True) as client:
        assert client.read_deployment_by_name("retrain/tickets").work_pool_name == "elsewhere"


def test_the_same_news_starts_one_run(project: Path) -> None:
    assert posttrain("deploy", "spec.yaml").exit_code == 0
    with get_client(sync_client=True) as client:
        deployed = client.read_deployment_by_name("watch/tickets")
        assert deployed.schedules[0].schedule.interval.total_seconds() == 30 * 60  # type: ignore[union-attr]
    mark = project / ".posttrain/watch/tickets.json"
    assert "because the data was never trained on by a watch (60 rows)" in watched()
    assert len(runs()) == 1
    first = mark.read_bytes()

    began = time.monotonic()
    assert watched() == "nothing new: the data is as it was (60 rows)"
    assert time.monotonic() - began < 20
    last = max(runs("watch"), key=lambda run: run.created or 0)
    assert last.state is not None
    assert last.state.is_completed()

    write_rows(project, 33)
    assert watched() == "nothing new: the data changed: +3 rows, now 63, of 5 that start a run"
    assert len(runs()) == 1

    write_rows(project, 36)
    assert watched().endswith("because the data changed: +6 rows, now 66")
    assert len(runs()) == 2

    mark.write_bytes(first)  # as if the watch had been killed after it started the run, before it noted that
    assert watched().startswith("was started before: flow run ")
    assert len(runs()) == 2
    assert json.loads(mark.read_bytes())["starts"] == 2
    assert watched().startswith("nothing new")


def test_without_a_server_it_says_how_to_start_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    done = posttrain("watch", "spec.yaml")
    assert done.exit_code == 2
    assert "nothing answers at http://127.0.0.1:9/api" in done.stderr
