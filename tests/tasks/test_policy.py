"""What Prefect tries again, and what it does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from posttrain.errors import DataError, OutOfMemory, PosttrainError, StageCrashed, TrainingDiverged, WorkspaceError
from posttrain.faults import LONG_TRIES, kind_of, weigh
from tasks.policy import DEVICE_STAGE
from tasks.run import Run
from tasks.start import start


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def tries_until_given_up(error: Exception, name: str = "stage") -> int:
    """How often a task that always raises `error` is started; Prefect does not wait between tries."""
    tries = []

    @task(name=name, **{**DEVICE_STAGE, "retry_delay_seconds": None, "retry_jitter_factor": None})
    def stage() -> None:
        tries.append(1)
        raise error

    @flow
    def run() -> None:
        stage()

    with pytest.raises(type(error)):
        run()
    return len(tries)


@pytest.mark.parametrize("error", [StageCrashed("killed"), OutOfMemory("no room")])
def test_a_transient_fault_is_tried_again(error: PosttrainError) -> None:
    assert tries_until_given_up(error) == 4


@pytest.mark.parametrize("error", [DataError("rows.jsonl:3: not JSON"), TrainingDiverged("step 7"), ValueError("x")])
def test_what_another_try_cannot_cure_is_not_retried(error: Exception) -> None:
    assert tries_until_given_up(error) == 1


def test_a_network_that_is_gone_is_waited_for_longer_than_a_minute() -> None:
    assert tries_until_given_up(ConnectionResetError("gone")) == 1 + LONG_TRIES
    waits = [weigh(ConnectionResetError(), attempt, 3, 2) for attempt in range(1, 1 + LONG_TRIES)]
    assert [found and found.wait for found in waits] == [5, 10, 20, 40, 60, 60]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_waited_for_and_says_how_to_free_it() -> None:
    with pytest.raises(OSError, match="No space") as caught:
        Path("/dev/full").write_text("report")
    found = weigh(caught.value, 2, 3, 0)
    assert found is not None
    assert (found.kind, found.tries, found.wait) == ("disk full", 1 + LONG_TRIES, 10)
    assert "posttrain clean" in str(found)


def test_an_mlflow_server_that_is_not_there_is_a_network_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from posttrain import tracking

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(WorkspaceError) as caught:
        tracking.connect(Path("/nowhere"), "tickets")
    assert kind_of(caught.value) == "network"
    assert weigh(caught.value, 1, 3, 2) is None, "its user waits, and the address may be wrong"
    assert weigh(caught.value, 1, 3, 2, unattended=True)
    assert kind_of(WorkspaceError("/w: not writable")) is None


def test_each_class_waits_its_own_time() -> None:
    def waits(error: Exception) -> list[float]:
        return [retry.wait for attempt in (1, 2, 3) if (retry := weigh(error, attempt, 3, 2))]

    assert waits(OutOfMemory("no room")) == [0, 0, 0]
    assert waits(StageCrashed("killed")) == [2, 4, 8]
    last = weigh(StageCrashed("killed"), 4, 3, 2)
    assert last is not None
    assert not last.again


SPEC = """\
name: tickets
task: {kind: text}
data: {train: data/train.jsonl, test: data/test.jsonl}
resources: {retries: 1, retry_delay_seconds: 0.2}
"""


def test_the_spec_says_how_often_and_the_ui_shows_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in ("train", "test"):
        Path(f"data/{name}.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    Path("spec.yaml").write_text(SPEC)
    began: list[float] = []

    @task(name="sft", task_run_name="sft", **DEVICE_STAGE)
    def stage(run: Run) -> None:
        with run.stage("sft"):
            began.append(time.monotonic())
            raise StageCrashed("posttrain.training.sft was killed by SIGKILL")

    @flow
    def trains() -> None:
        with start("spec.yaml") as run:
            stage(run)

    with pytest.raises(StageCrashed):
        trains()
    assert len(began) == 2
    assert 0.1 < began[1] - began[0] < 30
    with get_client(sync_client=True) as client:
        (task_run,) = [each for each in client.read_task_runs() if each.name == "sft"]
        shown = [str(one.data) for one in client.read_artifacts() if one.key == "sft-tries"]
    assert task_run.state_name == "Failed"
    assert task_run.run_count == 2
    assert [text for text in shown if "| try | 1 of 2 |" in text and "| class of fault | device |" in text]
    assert [text for text in shown if "| try | 2 of 2 |" in text and "no further try" in text]
    assert all("was killed by SIGKILL" in text for text in shown)
