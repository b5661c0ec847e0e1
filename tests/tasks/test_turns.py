"""Turns: a run waits for another of its pipeline, and one that was lost too often is given up."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.testing.utilities import prefect_test_harness

from posttrain.spec.sections.schedule import ScheduleSpec
from tasks import turns
from tasks.start import LostTooOften, _refuse_endless_resuming
from tasks.turns import DEVICES_VARIABLE, _devices, device_limit, device_turn, pipeline_turn

HOLDER = """
import sys, time
from pathlib import Path
from tasks.turns import pipeline_turn
with pipeline_turn(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "small.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {holder.pid}"])
    began = time.monotonic()
    with pipeline_turn(lock):
        assert time.monotonic() - began > 0.5
    holder.stdout.close()
    assert (holder.wait(10), killer.wait(10)) == (-9, 0)


def test_a_run_by_hand_waits_for_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEVICES_VARIABLE, raising=False)
    with device_turn(None):
        pass


def test_runs_of_one_device_share_a_machine_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICES_VARIABLE, "pool")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setattr(turns, "CHOOSE_SECONDS", 1.0)
    with prefect_test_harness(server_startup_timeout=180), get_client(sync_client=True) as talker:
        for device in ("2", "5"):
            talker.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=device_limit("pool", device), limit=1)
            )
        third: list[str] = []

        def wait_for_one() -> None:
            with device_turn(1) as seen:
                third.append(seen["CUDA_VISIBLE_DEVICES"])

        waiting = threading.Thread(target=wait_for_one)
        with device_turn(1) as first:
            with device_turn(1) as second:
                waiting.start()
                time.sleep(2)
                assert not third
            waiting.join(30)
        assert (first, second, third) == ({"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "5"}, ["5"])
        with device_turn(None) as both:
            assert both == {}


def test_the_devices_are_those_that_cuda_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert _devices() == ["2", "5"]


def test_a_run_is_resumed_so_often_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", "3")
    _refuse_endless_resuming(2)
    with pytest.raises(LostTooOften, match=r"lost 2 times, and schedule\.resume allows 1"):
        _refuse_endless_resuming(1)


@pytest.mark.parametrize(("field", "value"), [("overlap", "cancel"), ("resume", -1), ("lost_after_seconds", 10)])
def test_the_schedule_refuses_what_cannot_be(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        ScheduleSpec.model_validate({field: value})
