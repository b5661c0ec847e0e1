"""References, and stages: fingerprint in, published folder out.

A *reference* is small, frozen and JSON-serialisable; the data and weights stay in the workspace. A *stage* is
named by the digest of all that decides its result: its inputs, its code and the versions of the libraries it
calls. Its output is written beside, synced and renamed into place with a manifest, so that an unchanged stage
is found again, and a killed one leaves nothing half-done but its own checkpoints, from which it resumes.

Knows nothing of what any stage does.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from posttrain.errors import UserError, WorkspaceError
from posttrain.file_lock import held

MANIFEST = "manifest.json"


class Frozen(BaseModel):
    """A pydantic model that is immutable and refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetRef(Frozen):
    """A Parquet file: where it is, what it holds (sha256 of its bytes) and how many rows."""

    uri: str
    fingerprint: str
    rows: int


class ModelRef(Frozen):
    """A model: a Hugging Face id or folder, an optional PEFT adapter folder on top, and their digest.

    `base` alone is a full model; the fingerprint covers weights, configuration and tokenizer. `trust_remote_code`
    is the spec's word that code which comes with the model may run.
    """

    base: str
    adapter: str | None = None
    fingerprint: str
    trust_remote_code: bool = False


Result = TypeVar("Result", bound=Frozen)


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A finished stage: what it returned, where it lies, and whether it was found rather than run.

    `seconds` is the time of the run that made it.
    """

    name: str
    result: Result
    folder: Path
    fingerprint: str
    reused: bool
    seconds: float


@dataclass(frozen=True)
class Stage(Generic[Result]):
    """What decides a stage's result: its name, inputs (JSON-serialisable), code and libraries.

    `code` names packages or modules of ours whose source counts; `libraries` names installed distributions.
    """

    name: str
    inputs: Mapping[str, Any]
    result_type: type[Result]
    code: Sequence[str]
    libraries: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits over everything above."""
        return digest(
            {
                "name": self.name,
                "inputs": self.inputs,
                "code": {name: code_digest(name) for name in self.code},
                "libraries": {name: importlib.metadata.version(name) for name in self.libraries},
                "python": sys.version_info[:2],
            }
        )


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits of the sha256 of a value's canonical JSON; pydantic models count by content."""
    text = json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be part of a stage's fingerprint")


def file_digest(path: Path) -> str:
    """Sixteen hexadecimal digits of the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@cache
def code_digest(name: str) -> str:
    """Digest of the source of a module or of every module of a package, found without importing it."""
    root = Path(__file__).resolve().parent.parent / Path(*name.split("."))
    files = sorted(root.rglob("*.py")) if root.is_dir() else [root.with_suffix(".py")]
    return digest([[str(file.relative_to(root.parent)), file.read_text(encoding="utf-8")] for file in files])


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@dataclass(frozen=True)
class Workspace:
    """The folder that holds every stage's output (`.posttrain/` unless the spec says otherwise)."""

    root: Path

    def folder(self, stage: Stage[Any]) -> Path:
        """Where the stage's finished output is published."""
        return self.root / "stages" / f"{stage.name}-{stage.fingerprint}"

    def partial(self, stage: Stage[Any]) -> Path:
        """Where the stage works until it is done; checkpoints survive here between tries."""
        return self.root / "partial" / f"{stage.name}-{stage.fingerprint}"

    def note_use(self, folder: Path) -> None:
        """Make a found stage's manifest the newest, so that what was last used can be told."""
        os.utime(folder / MANIFEST)

    def check_writable(self) -> None:
        """Raise `WorkspaceError` unless files can be written here; leaves nothing behind.

        The test file is written in the nearest folder that exists, so a refused spec creates no workspace.
        """
        nearest = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        probe = nearest / f".posttrain-write-test-{os.getpid()}"
        try:
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise WorkspaceError(
                f"{self.root}: workspace is not writable ({reason}); "
                "make the folder writable or set resources.workspace to another one"
            ) from error


def find(workspace: Workspace, stage: Stage[Result]) -> Done[Result] | None:
    """The finished stage, or None; a folder whose manifest does not parse, or that lacks (a part of) a file, counts as
    not done."""
    folder = workspace.folder(stage)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        result = stage.result_type.model_validate(manifest["result"])
        if any((folder / name).stat().st_size != size for name, size in manifest.get("files", {}).items()):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return Done(stage.name, result, folder, stage.fingerprint, True, float(manifest["seconds"]))


def run_stage(workspace: Workspace, stage: Stage[Result], work: Callable[[Path, Path], Result]) -> Done[Result]:
    """Return the finished stage, or run `work(partial, final)` and publish what it left in `partial`.

    `partial` is kept when the work is interrupted or crashes, so that a training stage resumes; it is removed
    after a `UserError`, which no resumption can cure. `final` is where the folder will lie: references that
    the result holds must point there. Of several runs that come to the same stage, one does it, and the others wait.
    """
    if done := _found(workspace, stage):
        return done
    partial = workspace.partial(stage)
    try:
        with held(partial.with_name(f"{partial.name}.lock")):
            return _found(workspace, stage) or _do(workspace, stage, work)
    except UserError:
        _remove_if_empty(partial.parent, workspace.root)
        raise
    except PermissionError as error:
        raise WorkspaceError(f"{workspace.root}: cannot write {error.filename} ({error.strerror})") from error


def _found(workspace: Workspace, stage: Stage[Result]) -> Done[Result] | None:
    done = find(workspace, stage)
    if done:
        workspace.note_use(done.folder)
    return done


def _do(workspace: Workspace, stage: Stage[Result], work: Callable[[Path, Path], Result]) -> Done[Result]:
    partial, final = workspace.partial(stage), workspace.folder(stage)
    began = time.monotonic()
    partial.mkdir(exist_ok=True)
    try:
        result = work(partial, final)
    except UserError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    seconds = time.monotonic() - began
    publish(partial, final, stage, result, seconds)
    return Done(stage.name, result, final, stage.fingerprint, False, seconds)


def publish(partial: Path, final: Path, stage: Stage[Result], result: Result, seconds: float) -> None:
    """Write the manifest, sync every file, and rename the folder into place."""
    manifest = {
        "stage": stage.name,
        "fingerprint": stage.fingerprint,
        "inputs": json.loads(json.dumps(stage.inputs, default=_plain)),
        "code": {name: code_digest(name) for name in stage.code},
        "libraries": {name: importlib.metadata.version(name) for name in stage.libraries},
        "result": result.model_dump(mode="json"),
        "files": {str(path.relative_to(partial)): path.stat().st_size for path in _files(partial)},
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_atomic(partial / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    for path in _files(partial):
        sync(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(final)
    partial.replace(final)
    sync(final.parent)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_empty(folder: Path, stop: Path) -> None:
    """Remove `folder` and its parents up to and including `stop`, as long as they are empty."""
    for candidate in (folder, *folder.parents):
        try:
            candidate.rmdir()
        except OSError:
            return
        if candidate == stop:
            return
