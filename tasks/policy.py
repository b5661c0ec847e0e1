"""Retry and cache policies of the tasks, each with its why.

What is tried again, how often and after how long a wait is `posttrain.faults`' to say, by the class of the fault;
`Run.stage` asks it, since it knows the spec, and leaves the answer with the error. Prefect then asks here.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, SupportsIndex

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from posttrain.faults import Retry, weigh
from posttrain.spec import ResourcesSpec

MOST = 20
"""Further tries at most, whatever the spec says (see `resources.retries`)."""
_ANSWER = "posttrain_retry"
_WAIT: ContextVar[float] = ContextVar("wait", default=0.0)
_DEFAULT = ResourcesSpec()


def note(error: BaseException, retry: Retry | None) -> None:
    """Leave with the error what is to be done about it."""
    setattr(error, _ANSWER, retry)


def worth_another_try(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's question after a task failed. An error without a note is weighed by the spec's defaults."""
    error = state.data
    if not isinstance(error, BaseException):
        return False
    usual = weigh(error, run.run_count, _DEFAULT.retries, _DEFAULT.retry_delay_seconds)
    retry: Retry | None = getattr(error, _ANSWER, usual)
    _WAIT.set(retry.wait if retry else 0.0)
    return retry is not None and retry.again


class _Waits(list[float]):
    """Prefect looks the wait before a try up in a list; the wait depends on the fault, so this one tells the latest."""

    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        return _WAIT.get()


# The library's own fingerprinted folders are the cache: Prefect's would return a reference to a folder that may
# since have been deleted, and would not notice a file changed behind the same path. Any stage may find that MLflow or a
# store does not answer; those on a device are lost with it now and then. All of them can be run again: a finished stage
# is found, training goes on from its checkpoint.
STAGE: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": MOST,
    "retry_delay_seconds": _Waits([0.0]),
    "retry_jitter_factor": 0.3,  # many runs that lost the same server must not come back at the same moment
    "retry_condition_fn": worth_another_try,
}
DEVICE_STAGE = STAGE
