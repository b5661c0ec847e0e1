"""One process per heavy stage, so that a crash or a leak of memory ends with the stage and not with the flow.

The parent writes `job.json`, starts `python -m MODULE job.json` and follows the child's `events.jsonl`: progress,
then one result or one classified error. A child that ends without either was killed or crashed. The child ends
itself when its parent is gone. Of several processes that share a stage, the first tells progress and the result, any
of them its error, which ends them all. Knows nothing of what the stage does, nor of Prefect.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from posttrain import errors
from posttrain.artifacts import Frozen, write_atomic
from posttrain.progress import Progress, silent

Job = TypeVar("Job", bound=Frozen)
Result = TypeVar("Result", bound=Frozen)

POLL_SECONDS = 0.1
FULL_BELOW = 16 * 2**20
"""Bytes: with less than that free, a disk is full for a stage that writes weights."""
REPORTED = (
    errors.SpecError,
    errors.DataError,
    errors.ModelError,
    errors.WorkspaceError,
    errors.UserError,
    errors.TrainingDiverged,
    errors.OutOfMemory,
)


# --- the parent's side -------------------------------------------------------------------------------------

Turn = Callable[[], AbstractContextManager[Mapping[str, str] | None]]

_turn: Turn = nullcontext


def take_turns(turn: Turn) -> None:
    """From now on, hold `turn()` while a stage's process runs, in the environment that it gives."""
    global _turn
    _turn = turn


def _refuse_full_disk(folder: Path) -> None:
    """A child that cannot write cannot tell why it ended, and torch tells it in words of its own."""
    if shutil.disk_usage(folder).free < FULL_BELOW:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def launch(
    module: str,
    job: Frozen,
    folder: Path,
    result_type: type[Result],
    progress: Progress = silent,
    env: Mapping[str, str] | None = None,
    together: Path | None = None,
) -> Result:
    """Run `module` on `job` in a process of its own and return its result.

    `folder` receives `job.json`, `events.jsonl` and `log.txt` (the child's output, appended over tries). `together` is
    a configuration of `accelerate launch`, which then starts the module in as many processes as it says.

    Raises: the child's own error when it is one of Posttrain's; OSError (ENOSPC) when it ended without a word and the
    disk is full, else `StageCrashed`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = folder / "events.jsonl"
    events.unlink(missing_ok=True)
    write_atomic(folder / "job.json", job.model_dump_json(indent=2) + "\n")
    launcher = ["posttrain.launcher", "--config_file", str(together), "-m"] if together else []
    command = [sys.executable, "-m", *launcher, module, str(folder / "job.json")]
    with _turn() as taken, (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {}), **(taken or {})},
        )
        try:
            end = _follow(child, events, progress)
        finally:
            _stop(child, _ranks(events))
    if end is None:
        _refuse_full_disk(folder)
        raise errors.StageCrashed(_obituary(module, child.returncode, folder / "log.txt"))
    if end["kind"] == "result":
        return result_type.model_validate(end["result"])
    raise getattr(errors, end["class"])(end["message"])


def _follow(child: subprocess.Popen[bytes], events: Path, progress: Progress) -> dict[str, Any] | None:
    """Pass progress on until the child ends; its result or first error event, or None when it left none.

    An error is not waited for: of several processes the others may hang, since one of them no longer answers.
    """
    end = None
    position = 0
    while True:
        ended = child.poll() is not None
        fresh, position = _read_events(events, position)
        for event in fresh:
            if event["kind"] == "progress":
                progress(event["done"], event["total"], event["note"])
            elif event["kind"] in ("result", "error"):
                end = end or event
        if ended or (end is not None and end["kind"] == "error"):
            return end
        time.sleep(POLL_SECONDS)


def _read_events(events: Path, position: int) -> tuple[list[dict[str, Any]], int]:
    """Whole lines after byte `position`, and the position after them."""
    if not events.exists():
        return [], position
    with events.open("rb") as file:
        file.seek(position)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], position + len(whole)


def _ranks(events: Path) -> list[int]:
    """Process ids of all that shared the stage: each notes its own when it starts."""
    return [event["pid"] for event in _read_events(events, 0)[0] if event["kind"] == "started"]


def _stop(child: subprocess.Popen[bytes], ranks: Sequence[int]) -> None:
    """End the child and whatever it started; ranks lead groups of their own, which the child's death does not end."""
    for leader in (child.pid, *(rank for rank in ranks if rank != child.pid)):
        try:
            os.killpg(leader, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    child.wait()


def _obituary(module: str, code: int, log: Path) -> str:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    hint = " (the kernel kills like this when memory runs out)" if code == -signal.SIGKILL else ""
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no output"]
    return f"{module} {how}{hint}; its last words: {last[0][:300]}; see {log}"


# --- the child's side --------------------------------------------------------------------------------------


def serve(job_type: type[Job], run: Callable[[Job, Progress], Frozen]) -> None:
    """The `__main__` of a stage's module: read the job named on the command line, run it, tell how it ended."""
    path = Path(sys.argv[1])
    die_with_parent()
    tell = _Teller(path.parent / "events.jsonl")
    tell.write({"kind": "started", "pid": os.getpid()})
    try:
        job = job_type.model_validate_json(path.read_text(encoding="utf-8"))
        result = run(job, tell.progress)
    except Exception as error:
        traceback.print_exc()
        kind = classify(error)
        if kind is None:
            raise SystemExit(1) from None
        tell.write({"kind": "error", "class": kind, "message": str(error)})
        raise SystemExit(2) from None
    tell.write({"kind": "result", "result": result.model_dump(mode="json")})


def classify(error: BaseException) -> str | None:
    """The name of the Posttrain error that stands for `error`, or None when the crash speaks for itself."""
    for kind in REPORTED:
        if isinstance(error, kind):
            return type(error).__name__
    text = str(error)
    short = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in text for word in short)):
        return errors.OutOfMemory.__name__
    return None


class _Teller:
    """Appends events, each in one write. Progress at most ten times a second; of several processes only the first
    tells it, and the result."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = 0.0
        self.main = os.environ.get("RANK", "0") == "0"

    def write(self, event: dict[str, Any]) -> None:
        if self.main or event["kind"] in ("started", "error"):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")

    def progress(self, done: float, total: float, note: str = "") -> None:
        if done < total and time.monotonic() - self.last < 0.1:
            return
        self.last = time.monotonic()
        self.write({"kind": "progress", "done": done, "total": total, "note": note})


def die_with_parent() -> None:
    """A stage whose flow was killed must not go on holding the device: its whole group ends with the parent."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
