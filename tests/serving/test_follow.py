"""A registry that does not answer changes nothing of what serves."""

from __future__ import annotations

import asyncio

import pytest

from posttrain import tracking
from posttrain.serving.follow import Follower
from posttrain.serving.settings import ServeSettings


def test_a_silent_registry_is_said_and_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow = tracking.quiet_mlflow()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    follower = Follower(ServeSettings(name="n"), kind="transformers")
    try:
        assert asyncio.run(follower._wanted()) == ""  # the present version; there is none yet
        assert "does not answer" in follower.registry
    finally:
        mlflow.set_tracking_uri(before)
