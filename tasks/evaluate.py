"""Evaluate task: one model measured on one split, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task

from posttrain.artifacts import DatasetRef, Done, ModelRef
from posttrain.data.curate import CurateResult
from posttrain.evaluation.job import MeasureJob
from posttrain.evaluation.measure import measure
from posttrain.evaluation.scores import Prompting, Scores
from posttrain.evaluation.scoring import confusion_table, output_tables, scoring_of
from posttrain.process import launch
from posttrain.progress import Progress, silent
from posttrain.tracking import score_metrics
from tasks import show
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="evaluate", task_run_name="{label}", **DEVICE_STAGE)
def evaluate(
    run: Run,
    model: ModelRef,
    rows: CurateResult,
    split: str,
    label: str,
    prompting: Prompting = "zero-shot",
    limit: int | None = None,
) -> Scores:
    """Every metric of the task for `model` on `split` ("validation" or "test"), with 95 % intervals."""
    spec, data = run.spec, _split(rows, split)
    with run.stage(label) as stage:
        done = measure_apart(run, model, rows, split, prompting, limit, stage.progress)
        stage.finish(
            done,
            show.in_words(done.result),
            params={"split": split, "prompting": prompting, **spec.evaluate.model_dump()},
            metrics=score_metrics(done.result),
            datasets={split: data, "outputs": done.result.outputs},
            tables={**output_tables(done.result), **confusion_table(done.result)},
        )
    show.artifact(label, f"Scores {label}", show.scores([done.result]))
    return done.result


def measure_apart(
    run: Run,
    model: ModelRef,
    rows: CurateResult,
    split: str,
    prompting: Prompting = "zero-shot",
    limit: int | None = None,
    progress: Progress = silent,
) -> Done[Scores]:
    """`posttrain.evaluation.measure` with all that the spec says of measuring, in a process of its own."""
    spec = run.spec
    return measure(
        model,
        _split(rows, split),
        split=split,
        prompting=prompting,
        task=spec.task,
        spec=spec.evaluate,
        workspace=run.workspace,
        scoring=scoring_of(spec, run.root),
        limit=limit,
        examples=rows.train if prompting == "few-shot" else None,
        general_held_out=rows.general_held_out if prompting == "zero-shot" else None,
        progress=progress,
        launch=in_own_process,
    )


def _split(rows: CurateResult, split: str) -> DatasetRef:
    found: DatasetRef = getattr(rows, split)
    return found


def in_own_process(module: str, job: MeasureJob, progress: Progress) -> Mapping[str, Any]:
    """Measure in a process of its own; see `posttrain.process.launch` for what it raises."""
    return launch(module, job, Path(job.partial), Scores, progress).model_dump()
