"""How far things had come when a run was last started: the data's content, its rows, people's answers.

A look costs a listing: path, size and time of each file. Only when that differs from the last look are files read, and
only when their content differs too is anything new: a file that was merely touched or copied again is not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import Field, ValidationError

from posttrain.artifacts import Frozen, Workspace, digest, write_atomic
from posttrain.data import load
from posttrain.data.account.row_verdict import beside
from posttrain.data.account.row_verdict import read as read_verdicts
from posttrain.data.files import Origin, origins, row_count
from posttrain.data.files.place import File
from posttrain.data.look import SPLITS
from posttrain.feedback.place import find_store
from posttrain.spec import LoadedSpec
from posttrain.spec.sections.data import DataSpec, Source


class Watermark(Frozen):
    """What was there at a look. Two looks at the same things are equal but for `listing`."""

    listing: str = Field(description="Digest of the files' paths, sizes and times, and of addresses' tags")
    content: str = Field(description="Digest of the files' content, and of how the spec has them read")
    rows: int | None = Field(None, description="Rows of all files; None when that is not known without fetching them")
    answers: int = Field(0, description="Answers that people gave, of all time")
    requests: str = Field("", description="Digest of the listing of the requests that were last tested for drift")
    starts: int = Field(0, description="Runs that were started before; content that comes back is news again")

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that are the same as long as there is no news: a run is started once for each."""
        return digest([self.starts, self.content, self.answers, self.requests])

    def moved_on(self) -> Watermark:
        """The same, now that a run was started for it."""
        return self.model_copy(update={"starts": self.starts + 1})


def look(
    loaded: LoadedSpec, before: Watermark | None = None, answers: Callable[[LoadedSpec], int] | None = None
) -> Watermark:
    """Look at the spec's data and count people's answers (`answers`: by default `count_answers`).

    `before` spares reading files whose listing is still the same. Raises: DataError when a file is missing.
    """
    data, root = loaded.spec.data, loaded.root
    listed = digest([list_sources(data, root), data.model_dump(mode="json")])
    if before is not None and before.listing == listed:
        content, rows = before.content, before.rows
    else:
        content = digest({split: load.digests(getattr(data, split), root, split) for split in SPLITS})
        same = before is not None and before.content == content
        rows = before.rows if before is not None and same else count_rows(data, root)
    counted = (answers or count_answers)(loaded)
    kept = {"requests": before.requests, "starts": before.starts} if before else {}
    return Watermark(listing=listed, content=content, rows=rows, answers=counted, **kept)


def list_sources(data: DataSpec, root: Path) -> dict[str, list[list[list[object]]]]:
    """Each source's files with what tells cheaply that they may have changed. Raises: DataError."""
    return {
        split: [
            list_source(source, root, f"data.{split}[{index}]") for index, source in enumerate(getattr(data, split))
        ]
        for split in SPLITS
    }


def list_source(source: Source, root: Path, where: str) -> list[list[object]]:
    """The files of one source: path, size and time of those here, the tags of those elsewhere. Raises: DataError."""
    return [_listed(origin) for origin in origins(source, root, where)]


def _listed(origin: Origin) -> list[object]:
    if isinstance(origin, File) and isinstance(origin.location, Path):
        found = origin.location.stat()
        return [origin.shown, found.st_size, found.st_mtime_ns]
    return [origin.shown, origin.identity()]


def count_rows(data: DataSpec, root: Path) -> int | None:
    """Rows of all files here, read to the end where need be; None when one lies elsewhere and does not tell."""
    counts = [
        row_count(origin, read=True)
        for split in SPLITS
        for index, source in enumerate(getattr(data, split))
        for origin in origins(source, root, f"data.{split}[{index}]")
    ]
    return None if None in counts else sum(count for count in counts if count is not None)


def count_answers(loaded: LoadedSpec) -> int:
    """Answers in the feedback store, and words that people said on rows in the file beside the spec.

    Raises: WorkspaceError when the store does not answer.
    """
    words = len(read_verdicts(beside(loaded.path)))
    store = find_store(loaded.spec, Workspace((loaded.root / loaded.spec.resources.workspace).resolve()))
    if store is None:
        return words
    try:
        return words + len(store.answers())
    finally:
        store.close()


# --- kept between looks --------------------------------------------------------------------------------------


def file_of(workspace: Workspace, name: str) -> Path:
    """Where a pipeline's watermark is kept."""
    return workspace.root / "watch" / f"{name}.json"


def last(workspace: Workspace, name: str) -> Watermark | None:
    """The watermark of the last start; None before the first, and when the file is no watermark (any more)."""
    try:
        return Watermark.model_validate_json(file_of(workspace, name).read_bytes())
    except (OSError, ValidationError):
        return None


def keep(workspace: Workspace, name: str, mark: Watermark) -> None:
    """Write the watermark in one step: a reader sees the old one or the new one."""
    path = file_of(workspace, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, mark.model_dump_json(indent=2) + "\n")


def without_news(before: Watermark, now: Watermark) -> Watermark:
    """`before`, having seen what is there now and found no reason to start: spares reading the same files again."""
    listing = now.listing if now.content == before.content else before.listing
    return before.model_copy(update={"listing": listing, "requests": now.requests})
