"""The lock holds among processes and threads on a real SQLite store, and is neither lost nor kept for ever."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from registered import NAME

from posttrain import tracking
from posttrain.errors import WorkspaceError
from posttrain.registry import find, lock
from posttrain.registry.lock import LockLost, promoting

PROCESSES, ROUNDS = 3, 4


def count_up(file: Path, rounds: int) -> None:
    """Read, wait, write: without a lock, counts are lost."""
    for _ in range(rounds):
        with promoting(NAME):
            before = int(file.read_text())
            time.sleep(0.01)
            file.write_text(str(before + 1))


def left_behind(seconds: float) -> None:
    """A lock whose holder crashed that long ago."""
    made = {"posttrain.lock": "dead", "posttrain.lock.by": "ann@host", "posttrain.lock.at": str(time.time() - seconds)}
    tracking.client().create_registered_model(NAME + lock.SUFFIX, made)


def locks() -> list[str]:
    """Whatever lies in the store beside models."""
    found = tracking.client().search_registered_models()
    return [model.name for model in found if lock.is_lock(model.tags)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An abandoned lock is taken over after a blink instead of seconds."""
    monkeypatch.setattr(lock, "SEEN_SECONDS", 0.1)


def test_processes_take_turns(empty_store: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a connection of its own: this process never opens their store."""
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    tracking.quiet_mlflow().set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    (tmp_path / "count").write_text("0")
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=count_up, args=(tmp_path / "count", ROUNDS)) for _ in range(PROCESSES)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * PROCESSES
    assert (tmp_path / "count").read_text() == str(PROCESSES * ROUNDS)
    assert locks() == []


def test_the_lock_is_released_after_an_error(run_id: str) -> None:
    def fail() -> None:
        with promoting(NAME):
            assert locks() == [NAME + ".promoting"]
            assert find.names() == []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert locks() == []


def test_an_abandoned_lock_is_taken_over_by_one_of_many(run_id: str, impatient: None, tmp_path: Path) -> None:
    left_behind(720)
    (tmp_path / "count").write_text("0")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: count_up(tmp_path / "count", 2), range(4)))
    assert (tmp_path / "count").read_text() == "8"
    assert locks() == []


def test_who_left_the_lock_is_said(run_id: str, impatient: None) -> None:
    left_behind(720)
    with promoting(NAME) as held:
        assert held.notes == ("took over the lock that ann@host left 12 min ago",)


def test_a_fresh_lock_is_respected(run_id: str, impatient: None) -> None:
    left_behind(10)
    with pytest.raises(WorkspaceError, match=r"held by ann@host for 1\d s, expected a second"), promoting(NAME, 0.5):
        pass
    assert locks() == [NAME + ".promoting"]


def test_a_holder_that_slept_gives_up_and_leaves_the_new_lock_alone(run_id: str) -> None:
    with promoting(NAME) as slept:
        slept.check()
        tracking.client().delete_registered_model(slept.name)
        with promoting(NAME) as new:
            with pytest.raises(LockLost):
                slept.check()
            assert not lock._remove(slept.name, slept.token)
            new.check()
        with pytest.raises(LockLost):
            slept.check()


def test_a_lease_ends(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with promoting(NAME) as held:
        monkeypatch.setattr(lock, "LEASE_SECONDS", 0.0)
        with pytest.raises(LockLost):
            held.check()


def test_a_crash_while_taking_over_is_cleared_away(run_id: str, impatient: None) -> None:
    left_behind(720)
    old = {"posttrain.lock": "dead", "posttrain.lock.at": str(time.time() - 700)}
    tracking.client().create_registered_model(NAME + ".promoting.dead", old)
    with promoting(NAME):
        assert locks() == [NAME + ".promoting"]


def test_a_model_of_that_name_is_no_lock(run_id: str) -> None:
    tracking.client().create_registered_model(NAME + ".promoting")
    with pytest.raises(WorkspaceError, match="is a registered model"), promoting(NAME):
        pass
