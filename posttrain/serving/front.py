"""The front: everything together, until a signal. Requests in flight are answered before it ends, traces are sent."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

import uvicorn

from posttrain.errors import WorkspaceError
from posttrain.serving.app import application
from posttrain.serving.follow import Follower
from posttrain.serving.outbox import Outbox
from posttrain.serving.settings import ServeSettings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ENDING_SECONDS = 30
"""In which requests in flight must have been answered when the front is told to end."""


def serve(settings: ServeSettings, announce: Callable[[Follower], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is told when requests can come.

    For the store that `registry.find.open_store` opened.
    Raises: UserError when there is nothing to serve, or it fails its canaries; WorkspaceError for host and port.
    """
    if settings.host not in LOOPBACK and not settings.token:
        raise WorkspaceError(
            f"--host {settings.host}: others could ask the model, found no POSTTRAIN_SERVE_TOKEN in the environment; "
            "set one, or leave --host out"
        )
    asyncio.run(_serve(settings, announce))


class _Server(uvicorn.Server):
    """Signals are ours: uvicorn would raise them again before backends and traces are seen to."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(settings: ServeSettings, announce: Callable[[Follower], None]) -> None:
    follower, outbox = Follower(settings), Outbox(settings.sample)
    config = uvicorn.Config(
        application(follower, outbox),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=ENDING_SECONDS,
    )
    server, main = _Server(config), asyncio.current_task()
    assert main is not None

    def end() -> None:
        server.should_exit = True
        if not server.started:
            main.cancel()

    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, end)
    try:
        await follower.begin()
        following = asyncio.create_task(follower.follow())
        announcing = asyncio.create_task(_when_started(server, lambda: announce(follower)))
        await server.serve()
        announcing.cancel()
        following.cancel()
    except asyncio.CancelledError:
        pass  # told to end before it had begun
    finally:
        follower.stop()
        outbox.close()


async def _when_started(server: uvicorn.Server, announce: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.05)
    announce()
