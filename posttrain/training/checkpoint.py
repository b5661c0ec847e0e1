"""Checkpoints: resumable state, never the product. Complete is what carries the marker, which is written last.

Knows folders and files; nothing of models or trainers.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from posttrain.artifacts import sync

COMPLETE = "complete"
KEEP = 2


def newest(folder: Path, tidy: bool = True) -> Path | None:
    """The complete checkpoint of the highest step; half-written ones are removed on the way, if one is to `tidy`."""
    best: Path | None = None
    for checkpoint in folder.glob("checkpoint-*"):
        if not (checkpoint / COMPLETE).exists():
            if tidy:
                shutil.rmtree(checkpoint, ignore_errors=True)
        elif best is None or step_of(checkpoint) > step_of(best):
            best = checkpoint
    return best


def step_of(checkpoint: Path) -> int:
    """The optimizer step at which the checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def seal(checkpoint: Path) -> None:
    """Sync every file to the disk, then mark the checkpoint complete, then drop all but the newest `KEEP`."""
    for path in checkpoint.iterdir():
        sync(path)
    (checkpoint / COMPLETE).touch()
    sync(checkpoint)
    older = sorted(checkpoint.parent.glob("checkpoint-*"), key=step_of)[:-KEEP]
    for folder in older:
        (folder / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
