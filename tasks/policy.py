"""Retry and cache policies of the tasks, each with its why."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from posttrain.errors import TransientError


async def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry only what another try can cure.

    A wrong spec or a diverged loss would only waste GPU hours again; a killed process resumes from its checkpoint.
    """
    try:
        await state.aresult()
    except TransientError:
        return True
    except Exception:
        return False
    return False


# The library's own fingerprinted folders are the cache: Prefect's would return a reference to a folder that may
# since have been deleted, and would not notice a file changed behind the same path.
STAGE: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}

# Stages that run in their own process on the device, where faults are transient more often than not.
DEVICE_STAGE: dict[str, Any] = {
    **STAGE,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.3,
    "retry_condition_fn": is_transient,
}
