"""`posttrain serve`: a registered model as an OpenAI-compatible endpoint, in this terminal until Ctrl-C."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.row_story import safe
from flows.operations.prefect_server import free_port
from flows.operations.quiet import settle_environment
from posttrain.errors import ModelError, WorkspaceError

if TYPE_CHECKING:
    from posttrain.serving.follow import Follower

TOKEN = "POSTTRAIN_SERVE_TOKEN"


def serve_model(wanted: str, host: str, port: int, sample: float, poll_seconds: float, gpu_share: float) -> None:
    """Serve NAME, NAME@alias or NAME@version until a signal. Raises: UserError."""
    settle_environment()
    if free_port(port) != port:
        raise WorkspaceError(f"--port {port}: is taken; name another port")
    from posttrain.registry import find
    from posttrain.serving.front import serve
    from posttrain.serving.settings import ServeSettings

    name, _, which = wanted.partition("@")
    find.open_store(Path())
    name, which = find.name_or_only(name or None), which or "champion"
    if which.isdecimal():
        find.version(name, which)
    elif find.by_alias(name, which) is None:
        raise ModelError(
            f"{name}: no version has the alias {which!r}; `posttrain models list {name}` shows them, "
            f"`posttrain serve {name}@VERSION` serves one"
        )
    settings = ServeSettings(
        name=name,
        alias=None if which.isdecimal() else which,
        version=which if which.isdecimal() else None,
        host=host,
        port=port,
        token=os.environ.get(TOKEN, ""),
        poll_seconds=poll_seconds,
        sample=sample,
        gpu_share=gpu_share,
    )
    _talk()
    print(f"starting {safe(settings.shown)} …", flush=True)
    serve(settings, _announce)


def _talk() -> None:
    """What happens to the versions, a line each, on the terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    talker = logging.getLogger("posttrain.serving")
    talker.addHandler(handler)
    talker.propagate = False


def _announce(follower: Follower) -> None:
    settings = follower.settings
    base = f"http://{settings.host}:{settings.port}"
    print(f"{safe(settings.shown)}, version {follower.version}, by {follower.kind}")
    print(f"OpenAI clients: base_url={base}/v1 model={safe(settings.name)}; health: {base}/health")
    print("Ctrl-C ends it.", flush=True)
