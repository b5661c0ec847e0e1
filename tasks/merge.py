"""Merge task: one call to `posttrain.models.merging.merge`, so that what is tested is what will be registered."""

from __future__ import annotations

from prefect import task

from posttrain.artifacts import ModelRef
from posttrain.models import merging
from tasks import show
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="merge", task_run_name="merge", **DEVICE_STAGE)
def merge(run: Run, model: ModelRef) -> ModelRef:
    """One folder of base and adapter."""
    with run.stage("merge") as stage:
        done = merging.merge(model, run.workspace, stage.progress)
        merged = done.result
        stage.finish(
            done,
            f"{merged.bytes / 1e6:,.1f} MB, logits within {merged.error:.1g} of base and adapter",
            metrics={"error": merged.error, "effect": merged.effect, "bytes": merged.bytes},
            model=merged.model,
        )
    show.artifact("merge", "Merged model", show.table(("field", "value"), merged.model_dump().items()))
    return merged.model
