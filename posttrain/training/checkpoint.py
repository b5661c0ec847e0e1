"""Checkpoints: resumable state, never the product. Complete is what carries the marker, which is written last, and has
every file that the marker names, in its whole length: a disk that lost a part of one costs a few steps, not the run.

Knows folders and files; nothing of models or trainers.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from posttrain.artifacts import sync, write_atomic

COMPLETE = "complete"
KEEP = 2


def newest(folder: Path, tidy: bool = True) -> Path | None:
    """The complete checkpoint of the highest step; others are removed on the way, if one is to `tidy`."""
    best: Path | None = None
    for checkpoint in folder.glob("checkpoint-*"):
        if not _is_complete(checkpoint):
            if tidy:
                shutil.rmtree(checkpoint, ignore_errors=True)
        elif best is None or step_of(checkpoint) > step_of(best):
            best = checkpoint
    return best


def _is_complete(checkpoint: Path) -> bool:
    try:
        sizes = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def step_of(checkpoint: Path) -> int:
    """The optimizer step at which the checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def seal(checkpoint: Path, sound_step: int | None = None) -> None:
    """Sync every file to the disk, then mark the checkpoint complete, then drop all but the newest `KEEP`.

    The newest one that is not after `sound_step` is kept too: it is where a guard would go back to.
    """
    for path in checkpoint.iterdir():
        sync(path)
    sizes = {str(path.relative_to(checkpoint)): path.stat().st_size for path in checkpoint.rglob("*") if path.is_file()}
    write_atomic(checkpoint / COMPLETE, json.dumps(sizes, indent=2))
    sync(checkpoint)
    written = sorted(checkpoint.parent.glob("checkpoint-*"), key=step_of)
    sound = [folder for folder in written if sound_step is not None and step_of(folder) <= sound_step][-1:]
    for folder in written[:-KEEP]:
        if folder in sound:
            continue
        (folder / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
