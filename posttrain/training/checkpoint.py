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


def seal(checkpoint: Path, sound_step: int | None = None) -> None:
    """Sync every file to the disk, then mark the checkpoint complete, then drop all but the newest `KEEP`.

    The newest one that is not after `sound_step` is kept too: it is where a guard would go back to.
    """
    for path in checkpoint.iterdir():
        sync(path)
    (checkpoint / COMPLETE).touch()
    sync(checkpoint)
    written = sorted(checkpoint.parent.glob("checkpoint-*"), key=step_of)
    sound = [folder for folder in written if sound_step is not None and step_of(folder) <= sound_step][-1:]
    for folder in written[:-KEEP]:
        if folder in sound:
            continue
        (folder / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
