"""Online training as a stage (`train`: the parent's side, light) and as work inside its process (`run`).

Knows that there are algorithms, and nothing of how they learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.artifacts import Done, Workspace
from posttrain.progress import Progress, silent
from posttrain.training.online.job import OnlineJob
from posttrain.training.result import TrainResult
from posttrain.training.supervise import train_stage

if TYPE_CHECKING:
    from posttrain.training.ppo.health import Observe
    from posttrain.training.signals import Signals

MODULE = "posttrain.training.online"
CODE = (
    "posttrain.training.ppo",
    "posttrain.training.signals",
    "posttrain.training.rewards",
    "posttrain.training.pairs",
    "posttrain.evaluation",
)
"""What else decides the result: how answers are drawn, which rows are asked, what is rewarded."""


def train(job: OnlineJob, workspace: Workspace, progress: Progress = silent) -> Done[TrainResult]:
    """Train the job's policy, in a process of its own; return at once when that was done before.

    Resumes and retries as SFT does. Raises: `DataError` when no row can be rewarded; `TrainingDiverged`; `ModelError`;
    `StageCrashed` (worth another call).
    """
    return train_stage(job.algorithm, MODULE, job, workspace, progress, CODE)


def run(job: OnlineJob, progress: Progress = silent, observers: Sequence[Observe] = ()) -> TrainResult:
    """Train in this process; see `train` for what may be raised.

    Each of `observers` is called after every update and may end the training by raising.
    """
    from posttrain.training import trainer
    from posttrain.training.online.group import run_group
    from posttrain.training.online.lesson import Lesson
    from posttrain.training.online.ppo import run_ppo
    from posttrain.training.online.questions import ask

    progress(0, 1, "loading the model")
    trainer.prepare_process(job)
    model, tokenizer, base = trainer.load_policy(job)
    questions, excluded = ask(job, tokenizer)
    lesson = Lesson(
        job=job,
        model=model,
        tokenizer=tokenizer,
        base=base,
        questions=questions,
        signals=signals_of(job),
        progress=progress,
        observers=observers,
        counted={"rows_excluded": float(excluded)},
    )
    return run_ppo(lesson) if job.algorithm == "ppo" else run_group(lesson)


def signals_of(job: OnlineJob) -> Signals:
    """What the job rewards: its mixture, or the task's own verifier alone. Raises: `SpecError`; `ModelError`."""
    from posttrain.training.signals import Signals

    if not job.rewards:
        return Signals.of_kind(job.kind)
    return Signals.of_terms(job.rewards, job.kind, job.updates, job.judge, job.harm, Path(job.root))
