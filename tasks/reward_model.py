"""Reward model task: one call to `posttrain.training.reward_model.train`; a retry resumes from its checkpoint."""

from __future__ import annotations

from prefect import task

from posttrain.artifacts import ModelRef
from posttrain.data.curate import CurateResult
from posttrain.errors import DataError
from posttrain.tracking import log_verdict
from posttrain.training import by_spec
from posttrain.training.reward_model import RewardModelResult
from tasks import show, show_reward_model
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="reward-model", task_run_name="reward-model", **DEVICE_STAGE)
def train_reward_model(run: Run, rows: CurateResult, policy: ModelRef) -> RewardModelResult:
    """Learn what people prefer from their pairs, and judge whether that may be trusted.

    A refused reward model is returned with its verdict; whoever asks `reward_model` of it for rewards is refused.
    """
    spec, pairs = run.spec, rows.preference
    with run.stage("reward-model") as stage:
        if pairs is None or not pairs.rows:
            raise DataError("data.preference: found no pair, expected pairs to learn a reward model from; add some")
        done = by_spec.train_reward_model(spec, policy, pairs, run.workspace, stage.progress)
        result = done.result
        stage.finish(
            done,
            show_reward_model.in_words(result),
            params=result.recipe,
            metrics={
                **result.metrics,
                **show_reward_model.metrics(result),
                "restarts": result.restarts,
                **show.guards_count(result),
            },
            datasets={"preference": pairs},
            curve=[(point.step, point.metrics) for point in result.curve],
            model=result.model,
            tables={**show_reward_model.bias_table(result), **show.guards_table(result)},
        )
        run.verdicts.append(result.verdict)
        log_verdict(run.mlflow_run_id, result.verdict)
    show.artifact("gate-reward-model", "Verdict gate-reward-model", show.verdict(result.verdict))
    show.artifact("reward-model", "Reward model", show_reward_model.markdown(result))
    return result
