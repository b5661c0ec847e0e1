"""Traces wait while MLflow is down, and are sent when it is back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from registered import empty_store_in

from posttrain import tracking
from posttrain.serving.outbox import Outbox
from posttrain.tracking.traces import ServedRequest, recent_requests

REQUEST = ServedRequest(
    id="r-0",
    at=datetime(2026, 11, 30, tzinfo=UTC),
    model="voice-assistant",
    version="1",
    messages=({"role": "user", "content": "play some jazz"},),
    output="{}",
    finish_reason="stop",
    seconds=0.1,
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The store's address, while MLflow asks a server that is not there."""
    (tmp_path / "mlflow.db").write_bytes(empty_store_in(tmp_path / "made"))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracking.connect(tmp_path, "outbox")
    tracking.quiet_mlflow().set_tracking_uri("http://127.0.0.1:9")
    yield uri
    tracking.quiet_mlflow().set_tracking_uri(uri)


def _wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_requests_wait_for_the_store_and_the_oldest_are_given_up(store: str) -> None:
    box = Outbox(sample=1.0, waiting=3, retry_seconds=0.1)
    box.add(REQUEST)
    _wait(lambda: box.silent)
    for number in range(1, 5):
        box.add(replace(REQUEST, id=f"r-{number}"))
    box.add_feedback("r-4", "down", None)
    assert (box.waiting, box.dropped) == (3, 3)
    tracking.quiet_mlflow().set_tracking_uri(store)
    _wait(lambda: not box.waiting)
    box.close()
    assert box.silent == ""
    found = {request.id: request.thumb for request in recent_requests("voice-assistant", None)}
    assert found == {"r-3": None, "r-4": "down"}


def test_a_request_outside_the_sample_is_logged_once_somebody_judges_it(store: str) -> None:
    tracking.quiet_mlflow().set_tracking_uri(store)
    box = Outbox(sample=0.0)
    box.add(REQUEST)
    box.add(replace(REQUEST, id="r-1"))
    box.add_feedback("r-1", "down", '{"intent": "PlayMusic"}')
    _wait(lambda: not box.waiting)
    box.close()
    (found,) = recent_requests("voice-assistant", None)
    assert (found.id, found.thumb, found.correction) == ("r-1", "down", '{"intent": "PlayMusic"}')
