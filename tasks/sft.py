"""SFT task: one call to `posttrain.training.sft.train`; a retry resumes from its checkpoint."""

from __future__ import annotations

from prefect import task

from posttrain.data.curate import CurateResult
from posttrain.models.machine import check_devices
from posttrain.training import by_spec
from posttrain.training.result import TrainResult
from tasks import show
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="sft", task_run_name="sft", **DEVICE_STAGE)
def train_sft(run: Run, rows: CurateResult) -> TrainResult:
    """Teach the base model the completions of the curated rows."""
    with run.stage("sft") as stage:
        check_devices(run.spec.resources.devices, run.spec.resources.processes)
        done = by_spec.train_sft(run.spec, run.base, rows.train, rows.validation, run.workspace, stage.progress)
        stage.finish(
            done,
            show.loss(done.result),
            params=done.result.recipe,
            metrics={
                **done.result.metrics,
                "restarts": done.result.restarts,
                "peak_memory_bytes": done.result.peak_memory_bytes,
                "expected_memory_bytes": done.result.expected_memory_bytes,
                **show.guards_count(done.result),
            },
            datasets={"train": rows.train, "validation": rows.validation},
            curve=[(point.step, point.metrics) for point in done.result.curve],
            tables=show.guards_table(done.result),
            model=done.result.model,
        )
    show.artifact("sft", "Supervised fine-tuning", show.training(done.result))
    return done.result
