"""Distill task: one call to `posttrain.data.synthetic.stage.run`; a retry makes only the calls that are missing."""

from __future__ import annotations

from prefect import task

from posttrain.data.synthetic.stage import DistillResult
from posttrain.preparation import Preparation
from tasks import show
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="distill", task_run_name="distill", **DEVICE_STAGE)
def ask_teacher(run: Run, data: Preparation) -> DistillResult:
    """Have a stronger model answer the spec's prompts."""
    with run.stage("distill") as stage:
        done = data.distill(stage.progress)
        assert done is not None, "the flow calls this only when the spec has a teacher"
        result = done.result
        stage.finish(
            done,
            f"{result.rows.rows:,} rows from {result.calls:,} answers, cost {result.cost:.2f}",
            params=run.spec.synthetic.model_dump(),
            metrics={
                "calls": result.calls,
                "cached": result.cached,
                "input_tokens": result.input_tokens,
                "output_tokens": result.output_tokens,
                "cost": result.cost,
                "kept": result.rows.rows,
            },
            datasets={"synthetic": result.rows, "set aside": result.set_aside},
            tables={"funnel": [step.model_dump() for step in result.funnel]},
        )
    show.artifact("distill", "What the teacher made", show.distilled(result))
    return result
