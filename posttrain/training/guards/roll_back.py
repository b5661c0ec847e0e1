"""The parent's side of a guard that acts: take the training back and let it go on more gently, or give it up.

Knows jobs and folders, nothing of trainers. Everything is in the stage's folder before it is done, so that a parent
which is killed half-way does it once and not twice.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from posttrain.errors import GuardTripped
from posttrain.training import checkpoint
from posttrain.training.guards.easing import Ease, pull_at, rate_at
from posttrain.training.guards.finding import Finding
from posttrain.training.guards.record import RollBack, State, read_state, write_state

if TYPE_CHECKING:
    from posttrain.spec.sections.guards import GuardsSpec
    from posttrain.training.job import TrainingJob

Job = TypeVar("Job", bound="TrainingJob")


def settled(job: Job) -> Job:
    """The job as it is to go on: what a guard asked for is done, and all roll-backs so far are in `eased`.

    Raises: `GuardTripped` with the diagnosis when the training was taken back often enough.
    """
    partial = Path(job.partial)
    state = read_state(partial)
    if state.tripped:
        if len(state.roll_backs) >= job.guards.roll_backs:
            raise GuardTripped(_diagnosis(state))
        state = State(roll_backs=(*state.roll_backs, state.tripped))
        write_state(partial, state)
    if state.roll_backs and not state.roll_backs[-1].done:
        _drop_checkpoints(partial / "checkpoints", after=state.roll_backs[-1].to_step)
        done = tuple(one.model_copy(update={"done": True}) for one in state.roll_backs)
        write_state(partial, State(roll_backs=done))
    return job.model_copy(update={"eased": tuple(_ease(one, job.guards) for one in state.roll_backs)})


def told(job: TrainingJob) -> tuple[Finding, ...]:
    """The findings that the training was taken back for, each with what was done about it."""
    eased: list[Ease] = []
    findings = []
    for one in read_state(Path(job.partial)).roll_backs:
        eased.append(_ease(one, job.guards))
        rate, pull = rate_at(eased, one.to_step), pull_at(eased, one.to_step)
        did = f"rolled back to step {one.to_step}, from there on learning rate × {rate:g}"
        did += f", KL coefficient × {pull:g}" if pull != 1 else ""
        findings.append(one.finding.model_copy(update={"diagnosis": f"{one.finding.diagnosis}; {did}"}))
    return tuple(findings)


def _ease(one: RollBack, spec: GuardsSpec) -> Ease:
    return Ease(step=one.to_step, rate=spec.rate_factor, pull=spec.pull_factor if one.finding.away else 1.0)


def _drop_checkpoints(folder: Path, after: int) -> None:
    for path in folder.glob("checkpoint-*"):
        if checkpoint.step_of(path) > after:
            (path / checkpoint.COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)


def _diagnosis(state: State) -> str:
    assert state.tripped is not None
    times = len(state.roll_backs)
    before = "; ".join(f"to step {one.to_step} for {one.finding.guard}" for one in state.roll_backs)
    taken_back = f" Taken back {times} times before ({before}), each time to a lower rate." if times else ""
    return f"{state.tripped.finding}.{taken_back} Change what it names; the spec's guards: sets what is borne"
