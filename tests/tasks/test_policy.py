"""What Prefect tries again, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect import flow, task
from prefect.testing.utilities import prefect_test_harness

from posttrain.errors import DataError, OutOfMemory, PosttrainError, StageCrashed, TrainingDiverged
from tasks.policy import DEVICE_STAGE


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def tries_until_given_up(error: PosttrainError) -> int:
    """How often a task that always raises `error` is started, with waits cut to nothing."""
    tries = []

    @task(**{**DEVICE_STAGE, "retry_delay_seconds": 0, "retry_jitter_factor": None})
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


@pytest.mark.parametrize("error", [DataError("rows.jsonl:3: not JSON"), TrainingDiverged("step 7")])
def test_what_another_try_cannot_cure_is_not_retried(error: PosttrainError) -> None:
    assert tries_until_given_up(error) == 1
