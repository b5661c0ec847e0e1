"""Preference task: one call to `posttrain.training.preference.train`; a retry resumes from its checkpoint."""

from __future__ import annotations

from prefect import task

from posttrain.artifacts import ModelRef
from posttrain.training import by_spec
from posttrain.training.result import PairsResult, TrainResult
from tasks import show
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="dpo", task_run_name="dpo", **DEVICE_STAGE)
def train_preference(run: Run, policy: ModelRef, made: PairsResult) -> TrainResult:
    """Move the policy towards the chosen and away from the rejected completions, by `align.method`."""
    spec = run.spec
    with run.stage("dpo") as stage:
        done = by_spec.train_preference(spec, policy, made.pairs, run.workspace, stage.progress)
        stage.finish(
            done,
            f"{spec.align.method}: {show.loss(done.result)}",
            params=done.result.recipe,
            metrics={**done.result.metrics, "restarts": done.result.restarts, **show.guards_count(done.result)},
            datasets={"pairs": made.pairs},
            curve=[(point.step, point.metrics) for point in done.result.curve],
            tables=show.guards_table(done.result),
            model=done.result.model,
        )
    show.artifact("dpo", "Preference optimisation", show.training(done.result))
    return done.result
