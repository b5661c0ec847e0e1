"""What lm-evaluation-harness and the libraries under it do on their own, and may not do here.

| they would | here |
| --- | --- |
| fetch a metric that they do not know as Python code from the hub, and run it | refused, by name |
| tell a server of Hugging Face that a data set was loaded, local ones too | off |
| print advice and progress bars | left out; errors are raised all the same |
| seed every random generator | these go on from where they were |

Knows nothing of tasks.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
from collections.abc import Iterator
from typing import Any

_LOGGERS = ("lm_eval", "lm-eval")


@contextlib.contextmanager
def bounds() -> Iterator[list[str]]:
    """All of the above while it lasts; gives the list of metrics that were refused."""
    refused: list[str] = []
    with _quiet(), _random_state_kept(), _nothing_sent(), _no_code_from_the_hub(refused):
        yield refused


@contextlib.contextmanager
def _no_code_from_the_hub(refused: list[str]) -> Iterator[None]:
    import evaluate

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        refused.append(name)
        raise ValueError(f"{name} would be code from the hub")

    theirs = evaluate.load
    evaluate.load = refuse
    try:
        yield
    finally:
        evaluate.load = theirs


@contextlib.contextmanager
def _nothing_sent() -> Iterator[None]:
    import datasets

    config: Any = datasets.config
    before = config.HF_UPDATE_DOWNLOAD_COUNTS
    config.HF_UPDATE_DOWNLOAD_COUNTS = False
    try:
        yield
    finally:
        config.HF_UPDATE_DOWNLOAD_COUNTS = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
