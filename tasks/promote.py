"""Promotion: who is champion now, and may the new version take its place?"""

from __future__ import annotations

from prefect import task

from posttrain import registry
from posttrain.artifacts import ModelRef
from posttrain.evaluation.scores import Scores
from posttrain.gates import Verdict
from posttrain.registry import Promotion, Registered
from tasks import show
from tasks.policy import STAGE
from tasks.run import Run


@task(name="find-champion", task_run_name="find-champion", **STAGE)
def find_champion(run: Run, candidate: ModelRef) -> Scores | None:
    """The champion's test scores; None when there is no champion, or when the candidate is the champion itself."""
    with run.stage("find-champion") as stage:
        run_id = run.mlflow_run_id  # opens the store
        champion = registry.champion(run.model_name)
        is_candidate = champion is not None and champion.model.fingerprint == candidate.fingerprint
        found = "there is none yet" if champion is None else f"version {champion.version}"
        stage.note(f"{found}, the same model" if is_candidate else found)
    show.artifact("find-champion", "Who serves now", f"{stage.summary} (MLflow run `{run_id}`)")
    return None if champion is None or is_candidate else champion.scores


@task(name="promote", task_run_name="promote", **STAGE)
def promote(run: Run, version: Registered, verdict: Verdict) -> Promotion:
    """Alias champion if the verdict says better, otherwise challenger with the reasons."""
    with run.stage("promote") as stage:
        promotion = registry.promote(version.name, version.version, verdict, run.spec.register_.promote)
        stage.note(f"{promotion.alias}: {promotion.reasons[0]}")
    reasons = "\n".join(f"- {reason}" for reason in promotion.reasons)
    show.artifact(
        "promote", "Champion or challenger", f"**{promotion.alias}** (version {version.version})\n\n{reasons}"
    )
    return promotion
