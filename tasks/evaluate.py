"""Evaluate task: one model measured on one split, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.data.curate import CurateResult
from posttrain.evaluation.job import MeasureJob
from posttrain.evaluation.measure import measure
from posttrain.evaluation.scores import Prompting, Scores
from posttrain.evaluation.scoring import confusion_table, output_tables, scoring_of
from posttrain.process import launch
from posttrain.progress import Progress
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
    spec = run.spec
    data: DatasetRef = getattr(rows, split)
    scoring = scoring_of(spec, run.root)
    with run.stage(label) as stage:
        done = measure(
            model,
            data,
            split=split,
            prompting=prompting,
            task=spec.task,
            spec=spec.evaluate,
            workspace=run.workspace,
            scoring=scoring,
            limit=limit,
            examples=rows.train if prompting == "few-shot" else None,
            general_held_out=rows.general_held_out if prompting == "zero-shot" else None,
            progress=stage.progress,
            launch=_in_own_process,
        )
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


def _in_own_process(module: str, job: MeasureJob, progress: Progress) -> Mapping[str, Any]:
    return launch(module, job, Path(job.partial), Scores, progress).model_dump()
