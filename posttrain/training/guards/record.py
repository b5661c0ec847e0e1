"""What guards remember in a stage's folder: what was observed, and how often the training was taken back.

A kill loses nothing: observations are written one by one, synced before a checkpoint is, and cut to the one that is
resumed from; a guard that acts leaves its finding here before the process ends, for whoever starts the next one.
"""

from __future__ import annotations

import json
from pathlib import Path

from posttrain.artifacts import Frozen, sync, write_atomic
from posttrain.training.guards.finding import Finding, Observation


class RollBack(Frozen):
    """A training taken back."""

    finding: Finding
    to_step: int
    done: bool = False


class State(Frozen):
    """How far up the ladder the training is: what was done, and what waits to be done."""

    roll_backs: tuple[RollBack, ...] = ()
    tripped: RollBack | None = None


def folder_in(partial: Path) -> Path:
    """Where a stage's guards keep their notes."""
    return partial / "guards"


def read_state(partial: Path) -> State:
    """The ladder's state; that of a fresh training when nothing was written."""
    path = folder_in(partial) / "state.json"
    return State.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else State()


def write_state(partial: Path, state: State) -> None:
    """Replace the ladder's state, whole or not at all."""
    folder_in(partial).mkdir(parents=True, exist_ok=True)
    write_atomic(folder_in(partial) / "state.json", state.model_dump_json(indent=2) + "\n")


class Log:
    """The observations, one JSON object a line."""

    def __init__(self, partial: Path, writes: bool = True) -> None:
        self.path = folder_in(partial) / "observations.jsonl"
        self.writes = writes

    def resume(self, step: int) -> list[Observation]:
        """What was observed up to `step`; what lies after it, and a line that was cut off, is removed."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = []
        for line in lines:
            try:
                one = Observation.model_validate(json.loads(line))
            except ValueError:
                break
            if one.step > step:
                break
            kept.append(one)
        if self.writes and len(kept) < len(lines):
            write_atomic(self.path, "".join(_line(one) for one in kept))
        return kept

    def append(self, one: Observation) -> None:
        """Write the observation down."""
        if not self.writes:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(one))

    def sync(self) -> None:
        """Have all that was observed on the disk."""
        if self.path.exists():
            sync(self.path)


def _line(one: Observation) -> str:
    # json rather than pydantic, which would write NaN as null.
    return json.dumps(one.model_dump(), ensure_ascii=False) + "\n"
