"""Keeps the talk of Prefect, MLflow and the rest off the user's terminal: into a log file, where it can be read later.

What Prefect sends to its server, to be shown beside the run, goes on.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLI_COLORS": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
FLUSH_SECONDS = 10.0
TALKERS = (
    "prefect",
    "prefect.flow_runs",
    "prefect.task_runs",
    "prefect.server",
    "mlflow",
    "alembic",
    "great_expectations",
    "py.warnings",
    "httpx",
    "urllib3",
    "sqlalchemy",
    "transformers",
    "datasets",
    "huggingface_hub",
    "torch",
    "torchao",
)


def settle_environment() -> None:
    """Switch telemetry off in this process and its children; a variable that the user has set is kept."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def log_to(path: Path) -> None:
    """Send every talker's terminal lines to `path`. Call it after Prefect and MLflow were imported."""
    from prefect.logging.configuration import setup_logging

    setup_logging()
    file = logging.FileHandler(path, encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    logging.captureWarnings(True)
    for name in TALKERS:
        logger = logging.getLogger(name)
        for handler in [each for each in logger.handlers if isinstance(each, logging.StreamHandler)]:
            logger.removeHandler(handler)
        logger.addHandler(file)
        logger.propagate = False
    # torch hangs a handler of its own on its logger when it is imported, which may be later; it says this of torchao.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if type(each) is logging.StreamHandler]:
        root.removeHandler(handler)
    root.addHandler(file)


def flush_to_server() -> None:
    """Let Prefect send what it still holds, before its server goes."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=FLUSH_SECONDS, at_exit=True)
    APILogWorker.drain_all(timeout=FLUSH_SECONDS, at_exit=True)
