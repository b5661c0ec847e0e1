"""A real MLflow store for each test, copied from one that is made once: MLflow takes seconds to make it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from registered import empty_store_in

from posttrain import tracking


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The database of a store with nothing in it."""
    return empty_store_in(tmp_path_factory.mktemp("store"))


@pytest.fixture
def run_id(empty_store: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A run in a fresh store of this test's own."""
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    tracking.connect(tmp_path, "registry-test")
    with tracking.pipeline_run("registry-test", "spec") as run:
        yield run
