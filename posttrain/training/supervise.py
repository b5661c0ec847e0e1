"""A training as a stage in a process of its own, and what to do when that ends badly. Knows nothing of losses.

Out of memory: half the micro-batch, twice the accumulation, resume. A guard that acts: back to the last good
checkpoint and on more gently, until that was done often enough. All else goes up: a crash is retried by
whoever called, and the retry resumes from the newest checkpoint, because the stage's folder is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from posttrain.artifacts import Done, Stage, Workspace, run_stage
from posttrain.errors import GuardTripped, ModelError, OutOfMemory
from posttrain.process import launch
from posttrain.progress import Progress
from posttrain.training import distribution
from posttrain.training.guards import roll_back
from posttrain.training.guards.record import folder_in, read_state
from posttrain.training.job import CODE, TrainingJob, micro_batch
from posttrain.training.result import TrainResult

Job = TypeVar("Job", bound=TrainingJob)
Result = TypeVar("Result", bound=TrainResult)

LIBRARIES = ("torch", "transformers", "trl", "peft")


def train_stage(
    name: str, module: str, job: TrainingJob, workspace: Workspace, progress: Progress, code: Sequence[str] = ()
) -> Done[TrainResult]:
    """Run `python -m module` on the job until it is done, or find that it was; `name` is the stage's.

    `code` names further modules or packages whose source decides the result.

    Raises: what `supervise` and `launch` raise.
    """

    def work(partial: Path, final: Path) -> TrainResult:
        placed = job.model_copy(update={"partial": str(partial), "final": str(final)})
        result = supervise(placed, lambda one: _launch(module, one, partial, progress))
        clear(partial)
        return result

    stage = Stage(name, job.deciding, TrainResult, (*CODE, module, *code), LIBRARIES)
    return run_stage(workspace, stage, work)


def _launch(module: str, job: TrainingJob, folder: Path, progress: Progress) -> TrainResult:
    together = distribution.write_config(job, folder)
    return launch(module, job, folder, TrainResult, progress, distribution.environment(job), together)


def supervise(job: Job, attempt: Callable[[Job], Result]) -> Result:
    """Run `attempt(job)` until it returns, with ever smaller micro-batches, and as gently as guards ask for.

    The size that was last tried is kept in the stage's folder, so a retry after a crash does not start too big again;
    so is how often the training was taken back. Raises: `ModelError` when not even one row at a time fits;
    `GuardTripped` when guards have given up; every other error of the attempt.
    """
    remembered = Path(job.partial) / "micro_batch_size"
    if remembered.exists():
        job = with_micro_batch(job, int(remembered.read_text()))
    while True:
        job = roll_back.settled(job)
        try:
            result = attempt(job)
            return result.model_copy(update={"guards": (*roll_back.told(job), *result.guards)})
        except GuardTripped:
            if read_state(Path(job.partial)).tripped is None:
                raise
        except OutOfMemory as error:
            if job.micro_batch_size == 1:
                raise ModelError(
                    f"{job.model.base}: one row of up to {job.max_length} tokens does not fit into memory ({error}); "
                    "lower max_length, use method: lora, or take a smaller model"
                ) from error
            job = with_micro_batch(job, job.micro_batch_size // 2)
            remembered.write_text(str(job.micro_batch_size))


def with_micro_batch(job: Job, at_most: int) -> Job:
    """The same job at a smaller micro-batch; the batch, and so the loss, stays as it was."""
    return job.model_copy(update={"micro_batch_size": micro_batch(job.batch_size, at_most, job.processes)})


def clear(partial: Path) -> None:
    """Drop what only an unfinished training needs, before its folder is published."""
    for folder in (partial / "checkpoints", partial / "best", folder_in(partial)):
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("micro_batch_size", "tries.txt", "accelerate.yaml"):
        (partial / name).unlink(missing_ok=True)
