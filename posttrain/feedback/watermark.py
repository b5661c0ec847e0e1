"""How far mining has come: which requests were looked through, and what people had said of them by then.

A thumb may come days after its request. So each mining looks some days back behind the newest request it knows, and
takes up again what got a new thumb or correction since. The file is replaced in one step, after the cases are safely in
the store: a mining that is killed in between finds the same cases again, which the store then knows. Knows nothing of
what makes a case bad.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import Field, ValidationError

from posttrain.artifacts import Frozen, digest, write_atomic
from posttrain.errors import WorkspaceError
from posttrain.tracking.traces import ServedRequest


class Watermark(Frozen):
    """The newest request that was looked through, and the requests of the days before it."""

    newest: datetime | None = None
    seen: Mapping[str, str] = Field(default={}, description="Request → digest of what people had said of it")

    def since(self, look_back: timedelta) -> datetime | None:
        """From when on requests have to be read again; None for all of them."""
        return None if self.newest is None else self.newest - look_back

    def fresh(self, requests: Sequence[ServedRequest]) -> list[ServedRequest]:
        """Those that were not looked through yet, or of which people said something new."""
        return [request for request in requests if self.seen.get(request.id) != _said(request)]

    def after(self, requests: Sequence[ServedRequest], look_back: timedelta, later: Collection[str] = ()) -> Watermark:
        """The watermark once these are looked through, which are all since `since`; `later`: those to take up again."""
        if not requests:
            return self
        newest = max(request.at for request in requests)
        newest = newest if self.newest is None else max(newest, self.newest)
        kept = {
            request.id: _said(request)
            for request in requests
            if request.at >= newest - look_back and request.id not in later
        }
        return Watermark(newest=newest, seen=kept)


def _said(request: ServedRequest) -> str:
    return digest([request.thumb, request.correction])


def read(path: Path) -> Watermark:
    """The watermark in a file; one that has seen nothing where there is no file. Raises: `WorkspaceError`."""
    try:
        return Watermark.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Watermark()
    except (OSError, ValidationError) as error:
        raise WorkspaceError(
            f"{path}: cannot be read as mining left it ({type(error).__name__}); remove it, and mining looks through "
            "all requests again"
        ) from error


def write(path: Path, mark: Watermark) -> None:
    """Replace the file in one step. Raises: `WorkspaceError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, mark.model_dump_json() + "\n")
    except OSError as error:
        raise WorkspaceError(
            f"{path}: cannot be written ({error.strerror}); free the disk or make it writable"
        ) from error
