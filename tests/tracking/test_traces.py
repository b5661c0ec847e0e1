"""Served requests in a real MLflow store: what comes back is what was logged, without anybody's data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from registered import empty_store_in

from posttrain import tracking
from posttrain.errors import DataError, TransientError
from posttrain.tracking.traces import ServedRequest, is_sampled, log_feedback, log_request, recent_requests

NOW = datetime(2026, 11, 30, 7, 0, tzinfo=UTC)


def request(name: str, minutes: float = 0, prompt: str = "play some jazz") -> ServedRequest:
    """One that was answered so many minutes after `NOW`."""
    return ServedRequest(
        id=name,
        at=NOW + timedelta(minutes=minutes),
        model="voice-assistant",
        version="3",
        messages=({"role": "user", "content": prompt},),
        output='{"intent": "PlayMusic"}',
        finish_reason="stop",
        seconds=0.25,
        confidence=0.75,
        parsed=True,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("traces")
    (folder / "mlflow.db").write_bytes(empty_store_in(folder / "made"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        tracking.connect(folder, "traces")
        yield folder


def test_what_is_logged_comes_back_oldest_first(store: Path) -> None:
    later, earlier = request("r-2", minutes=5), request("r-1")
    log_request(later)
    log_request(earlier)
    assert recent_requests("voice-assistant", None) == [earlier, later]
    assert recent_requests("voice-assistant", NOW + timedelta(minutes=1)) == [later]
    assert recent_requests("nobody", None) == []


def test_feedback_is_an_assessment_and_the_newest_counts(store: Path) -> None:
    log_request(request("r-3", minutes=10))
    log_feedback("r-3", "up", None)
    log_feedback("r-3", "down", '{"intent": "GetWeather"}')
    found = next(each for each in recent_requests("voice-assistant", None) if each.id == "r-3")
    assert (found.thumb, found.correction) == ("down", '{"intent": "GetWeather"}')
    with pytest.raises(DataError, match="found no trace of it"):
        log_feedback("r-99", "up", None)


def test_personal_data_and_secrets_are_masked_before_they_are_sent(store: Path) -> None:
    log_request(request("r-4", minutes=20, prompt="mail maria.lopez@gmail.com that I am late"))
    log_feedback("r-4", None, "write to maria.lopez@gmail.com")
    found = next(each for each in recent_requests("voice-assistant", None) if each.id == "r-4")
    assert found.messages[0]["content"] == "mail [e-mail address] that I am late"
    assert found.correction == "write to [e-mail address]"
    files = [path for path in store.rglob("*") if path.is_file()]
    assert files
    assert not any(b"maria.lopez" in path.read_bytes() for path in files)


def test_a_store_that_does_not_answer_is_an_error_that_may_pass(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow = tracking.quiet_mlflow()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        with pytest.raises(TransientError, match="does not answer"):
            log_request(request("r-5"))
    finally:
        mlflow.set_tracking_uri(before)


def test_sampling_follows_the_id_alone() -> None:
    names = [f"chatcmpl-{number}" for number in range(2000)]
    kept = [name for name in names if is_sampled(name, 0.1)]
    assert kept == [name for name in names if is_sampled(name, 0.1)]
    assert 150 < len(kept) < 250
    assert all(is_sampled(name, 0.2) for name in kept)
    assert (is_sampled("x", 0.0), is_sampled("x", 1.0)) == (False, True)
