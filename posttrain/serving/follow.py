"""Which version has the traffic. When the alias moves, the new version starts beside the old one, answers its canary
prompts, and only then gets the traffic, in one assignment; the old one ends when its last request has ended.

A promotion and a rollback are the same move. A version that fails is refused, and the old one goes on. All of it runs
in one event loop, so that no request sees half a move. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx

from posttrain.errors import PosttrainError, StageCrashed, TransientError, UserError
from posttrain.registry.servable import servable, version_with
from posttrain.serving.backend import Backend, Kind, kind_here
from posttrain.serving.settings import ServeSettings

DRAIN_POLL_SECONDS = 0.1

_LOG = logging.getLogger(__name__)


class Follower:
    """The version that serves, and the alias that says which one should."""

    def __init__(self, settings: ServeSettings, kind: Kind | None = None) -> None:
        self.settings = settings
        self.kind = kind or kind_here()
        self.since = datetime.now(UTC)
        self.refused: dict[str, str] = {}
        """Version → why, while the alias points at it."""
        self.registry = ""
        """What is wrong with the registry; empty: nothing."""
        self._live: Backend | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._backends: list[Backend] = []

    @property
    def version(self) -> str | None:
        """The version that has the traffic."""
        return self._live.version.version if self._live else None

    @property
    def is_ready(self) -> bool:
        """Whether a request can be answered now."""
        return self._live is not None and not self._live.ended

    @contextmanager
    def serving(self) -> Iterator[Backend]:
        """The backend for one request, kept alive until the block ends."""
        backend = self._live
        assert backend is not None, "requests are taken after `begin`"
        backend.in_flight += 1
        try:
            yield backend
        finally:
            backend.in_flight -= 1

    async def begin(self) -> None:
        """Start the first version. Raises: UserError when there is none, or it fails; TransientError."""
        settings = self.settings
        wanted = settings.version or await asyncio.to_thread(version_with, settings.name, settings.alias or "")
        if wanted is None:
            raise UserError(
                f"{settings.shown}: no version has the alias; `posttrain models list {settings.name}` shows them"
            )
        self._live = await self._started(wanted)
        self.since = datetime.now(UTC)

    async def follow(self) -> None:
        """Look at the alias for ever; start again what ended by itself."""
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            try:
                await self.look()
            except Exception:
                _LOG.exception("%s: following failed; it goes on", self.settings.shown)

    async def look(self) -> None:
        """One look: move the traffic when the alias has moved."""
        wanted = await self._wanted()
        if not self.is_ready:  # whatever was refused, something has to serve
            await self._move((self.version or wanted) if wanted in self.refused else wanted)
        elif wanted == self.version:
            self.refused = {}
        elif wanted not in self.refused:
            await self._move(wanted)

    def stop(self) -> None:
        """End every backend."""
        for task in self._retiring:
            task.cancel()
        for backend in self._backends:
            backend.stop()
        self._backends = []

    async def _wanted(self) -> str:
        """The version that should serve; the present one where the registry cannot tell."""
        present, settings = self.version or "", self.settings
        if settings.alias is None:
            return present
        try:
            found = await asyncio.to_thread(version_with, settings.name, settings.alias)
        except TransientError as error:
            self._note(str(error))
            return present
        self._note("" if found else f"no version has the alias {settings.alias}")
        return found or present

    def _note(self, problem: str) -> None:
        if problem and problem != self.registry:
            _LOG.warning("%s; version %s goes on", problem, self.version)
        self.registry = problem

    async def _move(self, wanted: str) -> None:
        old = self._live
        try:
            new = await self._started(wanted)
        except (PosttrainError, httpx.HTTPError, TimeoutError) as error:
            if isinstance(error, TransientError) and not isinstance(error, StageCrashed):
                self._note(str(error))  # the registry fell silent while the weights were fetched: tried again
                return
            self.refused = {wanted: str(error) or type(error).__name__}
            _LOG.warning("refused: %s; version %s goes on", self.refused[wanted], self.version)
            return
        self._live, self.since, self.refused = new, datetime.now(UTC), {}
        _LOG.warning("version %s serves now, after version %s", wanted, old.version.version if old else "none")
        if old is not None:
            task = asyncio.create_task(self._retire(old))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _started(self, version: str) -> Backend:
        """A backend that has answered its canaries. Raises: PosttrainError when it has not; then nothing is left."""
        settings, began = self.settings, time.monotonic()
        fetched = await asyncio.to_thread(servable, settings.name, version)
        backend = await asyncio.to_thread(Backend, fetched, settings, self.kind)
        self._backends.append(backend)
        try:
            await backend.ready(settings.start_seconds)
            said = await asyncio.wait_for(backend.try_canaries(), settings.start_seconds)
        except BaseException:
            await asyncio.shield(self._end(backend))
            raise
        _LOG.warning("%s: ready after %.0f s; %s", fetched.shown, time.monotonic() - began, said)
        return backend

    async def _retire(self, backend: Backend) -> None:
        """Stop a backend when its last request has ended, or has taken too long."""
        deadline = time.monotonic() + self.settings.drain_seconds
        while backend.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        if backend.in_flight:
            _LOG.warning("%s: %d requests had not ended", backend.version.shown, backend.in_flight)
        await self._end(backend)

    async def _end(self, backend: Backend) -> None:
        await asyncio.to_thread(backend.stop)
        if backend in self._backends:
            self._backends.remove(backend)
