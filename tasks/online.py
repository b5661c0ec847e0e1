"""Online task: one call to `posttrain.training.online.train` (PPO, GRPO, RLOO); a retry resumes from its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from posttrain.artifacts import ModelRef
from posttrain.data.curate import CurateResult
from posttrain.training import online
from posttrain.training.result import TrainResult
from posttrain.training.rewards import RewardModel, additions
from tasks import show
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="online", task_run_name="{run.spec.align.method}", **DEVICE_STAGE)
def train_online(
    run: Run, policy: ModelRef, rows: CurateResult, judge: RewardModel | None = None, lagging: Sequence[str] = ()
) -> TrainResult | None:
    """Let the policy answer training prompts and learn from its rewards, by `align.method`.

    `judge` says what people prefer; where its gate refused it, the task's verifier stands in, and without one there is
    nothing to learn from (None). Half of the prompts come from the slices that are `lagging`.
    """
    spec = run.spec
    with run.stage(spec.align.stage) as stage:
        if why := online.cannot_reward(spec.rewards, spec.task.kind, judge):
            stage.note(why)
            return None
        job = online.job_for(spec, policy, rows.train, rows.validation, judge, lagging, run.root)
        done = online.train(job, run.workspace, stage.progress)
        result = done.result
        stage.finish(
            done,
            show.rewarded(result),
            params=result.recipe,
            metrics={**result.metrics, "restarts": result.restarts, **show.guards_count(result)},
            datasets={"train": rows.train},
            curve=[(point.step, point.metrics) for point in result.curve],
            tables=show.guards_table(result),
            model=result.model,
        )
    joined = additions(result.curve, job.rewards, job.updates, spec.rewards.tolerance)
    show.artifact(spec.align.stage, "Learning from rewards", show.rewards(result, joined))
    return result
