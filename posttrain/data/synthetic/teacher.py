"""Ask a teacher: the one call for both sorts, an endpoint or a model loaded here, with every answer cached.

Works in a script, in a Prefect task and in a notebook, whose event loop is already running. Knows nothing of rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from posttrain.data.synthetic import calls, endpoint, local
from posttrain.data.synthetic.cache import Cache
from posttrain.data.synthetic.calls import Asked, Call, Outcome
from posttrain.data.synthetic.model_folder import find
from posttrain.progress import Progress, silent
from posttrain.spec.sections.synthetic import TeacherSpec

Made = TypeVar("Made")


@dataclass
class Teacher:
    """A teacher with its cache in `folder`, and what its calls have come to; a model's own folder starts from `root`.

    `asked` sums up all calls so far, its outcomes left out; `max_cost` caps them together.
    """

    spec: TeacherSpec
    folder: Path
    root: Path = Path()
    progress: Progress = silent
    asked: Asked = field(default_factory=Asked)

    def ask(self, wanted: Sequence[Call]) -> list[Outcome | None]:
        """The outcome of every call, from the cache or newly made; None for calls that were not made (`asked.stopped`).

        Raises: `ModelError` for a key, address or model that is wrong; `TransientError` when the endpoint is down.
        What was answered until then is kept, so that the same calls go on from there.
        """
        if not wanted or self.asked.stopped:
            return [None] * len(wanted)
        asked = self._local(wanted) if self.spec.base_url is None else _finished(self._remote(wanted))
        for name in ("cached", "made", "cost", "spent"):
            setattr(self.asked, name, getattr(self.asked, name) + getattr(asked, name))
        self.asked.stopped = asked.stopped
        self.asked.unfinished |= asked.unfinished
        return [asked.outcomes.get(place) for place in range(len(wanted))]

    def _local(self, wanted: Sequence[Call]) -> Asked:
        with Cache(self.folder) as cache:
            return local.ask(self.spec, wanted, cache, self.root, self.progress)

    async def _remote(self, wanted: Sequence[Call]) -> Asked:
        with Cache(self.folder) as cache:
            return await endpoint.ask(self.spec, wanted, cache, self.asked.cost, self.progress)

    @cached_property
    def identity(self) -> str:
        """What decides the answers beside the spec: the endpoint's name of the model, or a digest of its files."""
        return self.spec.model if self.spec.base_url else find(self.spec, self.root)[1]

    def key(self, call: Call) -> str:
        """The name of the call's answer in the cache."""
        return calls.key(self.identity, calls.request(self.spec, call), call.sample)

    @property
    def name(self) -> str:
        """The teacher's name as rows carry it: the endpoint's name of the model, or its folder's last part."""
        folder = self.root / Path(self.spec.model).expanduser()
        return folder.resolve().name if self.spec.base_url is None and folder.is_dir() else self.spec.model


def _finished(work: Coroutine[Any, Any, Made]) -> Made:
    """The result of a coroutine, from code that may itself be called by an event loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def tell_and_work() -> Made:
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await work

    with ThreadPoolExecutor(1, thread_name_prefix="teacher") as thread:
        result = thread.submit(asyncio.run, tell_and_work())
        try:
            return result.result()
        except BaseException:
            if not result.done():  # interrupted here: the calls must end too
                loop, running = started.result()
                if running:
                    loop.call_soon_threadsafe(running.cancel)
            raise
