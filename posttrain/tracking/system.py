"""How busy the machine was while a run worked: MLflow's own system metrics, as `system/…` of the run.

Processor, memory, disk and network; GPUs too where `nvidia-ml-py` is installed.
`MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` sets the seconds between two samples,
`MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false` switches them off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from posttrain.tracking.store import quiet_mlflow

SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
INTERVAL = 10.0
"""Seconds, MLflow's own default."""


@contextmanager
def system_metrics(run_id: str) -> Iterator[None]:
    """While the block works, log them; a store that fails meanwhile ends the logging, not the block."""
    if os.environ.get(SWITCH, "true").lower() in ("false", "0"):
        yield
        return
    quiet_mlflow()
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor: Any = SystemMetricsMonitor(run_id, sampling_interval=INTERVAL)  # type: ignore[no-untyped-call]
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
