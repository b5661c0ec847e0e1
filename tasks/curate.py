"""Curate task: one call to `posttrain.data.curate.curate`."""

from __future__ import annotations

from prefect import task

from posttrain import tracking
from posttrain.data.curate import CurateResult
from posttrain.data.validate import ValidateResult
from posttrain.preparation import Preparation
from posttrain.report import funnel
from tasks import show
from tasks.policy import STAGE
from tasks.run import Run


@task(name="curate", task_run_name="curate", **STAGE)
def curate_rows(run: Run, data: Preparation, validated: ValidateResult) -> CurateResult:
    """Turn valid rows into training, validation and test sets; every row set aside keeps its reason."""
    with run.stage("curate") as stage:
        done = data.curate(validated, stage.progress)
        result = done.result
        sets = {"train": result.train, "validation": result.validation, "test": result.test}
        stage.finish(
            done,
            f"{result.train.rows:,} train, {result.validation.rows:,} validation, {result.test.rows:,} test",
            params=run.spec.curate.model_dump(),
            metrics={"train": result.train.rows, "validation": result.validation.rows, "dropped": result.dropped.rows},
            datasets=sets,
            tables={
                "funnel": funnel.table(show.steps(result, validated)),
                **show.other_funnels_table(result),
                **show.agreement_table(result),
            },
        )
        tracking.log_data(run.mlflow_run_id, sets)
    show.artifact("curate", "The data funnel", show.funnel(result, validated))
    return result
