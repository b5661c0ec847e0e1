"""Validate task: one call to `posttrain.data.validate.validate`."""

from __future__ import annotations

from prefect import task

from posttrain.data.validate import ValidateResult
from posttrain.preparation import Preparation
from tasks import show
from tasks.policy import STAGE
from tasks.run import Run


@task(name="validate", task_run_name="validate", **STAGE)
def validate_rows(run: Run, data: Preparation) -> ValidateResult:
    """Set aside the rows that break a rule, each with its reason; build Data Docs."""
    with run.stage("validate") as stage:
        done = data.validate(stage.progress)
        result = done.result
        stage.finish(
            done,
            f"{result.rows_in:,} rows, {result.quarantine.rows:,} quarantined",
            params=run.spec.validate_.model_dump(),
            metrics={"rows_in": result.rows_in, "rows_out": result.rows_out, "quarantined": result.quarantine.rows},
            datasets={"train": result.train, "test": result.test, "quarantine": result.quarantine},
            tables={"rules": [rule.model_dump() for rule in result.rules]},
        )
    show.artifact("validate", "Which rows are fit for use", show.validation(result))
    return result
