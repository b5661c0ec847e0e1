"""The same batch functions on Ray Data: `resources.engine: ray`, for data past one machine. Needs `posttrain[ray]`.

Batches are dealt out in windows, so that the cluster's object store holds some hundred megabytes at most, and come
back in order. With RAY_ADDRESS set, or a cluster on this machine, it joins that cluster; otherwise it starts its own.
"""

from __future__ import annotations

import itertools
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from posttrain.data.engine import Item, Result
from posttrain.errors import SpecError

WINDOW = 64
"""Batches under way at a time: of ten megabytes each."""


class RayEngine:
    """Runs functions over items as a Ray Data pipeline."""

    def __init__(self) -> None:
        """Raises `SpecError` when Ray is not installed. It is started with the first batch, not before."""
        if find_spec("ray") is None:
            raise SpecError(
                "resources.engine: found ray, which is not installed; pip install 'posttrain[ray]', or use local"
            )

    def _connect(self) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False)
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `posttrain.data.engine.Engine.map`."""
        import ray

        self._connect()
        rest = iter(items)
        while window := list(itertools.islice(rest, WINDOW)):
            packed = [{"item": pickle.dumps(item)} for item in window]
            dataset = ray.data.from_items(packed, override_num_blocks=len(window))
            for row in dataset.map(_Apply(function)).iter_rows():
                yield pickle.loads(row["result"])


class _Apply:
    """What Ray runs on a worker. Items travel as bytes: Arrow would turn frames and dataclasses into something else."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        return {"result": pickle.dumps(self._function(pickle.loads(row["item"])))}
