"""Promotion: who is champion now, and may the new version take its place?"""

from __future__ import annotations

from prefect import task

from posttrain import registry
from posttrain.artifacts import ModelRef
from posttrain.gates import Verdict
from posttrain.registry import Approval, Incumbent, Promotion, Registered
from tasks import show
from tasks.policy import STAGE
from tasks.register import asking
from tasks.run import Run


@task(name="find-champion", task_run_name="find-champion", **STAGE)
def find_champion(run: Run, candidate: ModelRef) -> Incumbent:
    """The champion's version and test scores; no scores when there is none, or when it is the candidate itself."""
    with run.stage("find-champion") as stage:
        run_id = run.mlflow_run_id  # opens the store
        champion = registry.incumbent(run.model_name, candidate, asking(run))
        found = "there is none yet" if champion.version is None else f"version {champion.version}"
        stage.note(f"{found}, the same model" if champion.is_candidate else found)
    show.artifact("find-champion", "Who serves now", f"{stage.summary} (MLflow run `{run_id}`)")
    return champion


@task(name="promote", task_run_name="promote", **STAGE)
def promote(
    run: Run, version: Registered, verdict: Verdict, champion: Incumbent, approval: Approval | None = None
) -> Promotion:
    """Alias champion if the verdict says better, otherwise challenger with the reasons."""
    with run.stage("promote") as stage:
        promotion = registry.promote(
            version.name,
            version.version,
            verdict,
            against=champion.version,
            may_replace=run.spec.register_.promote,
            approval=approval,
        )
        stage.note(f"{'test again' if promotion.stale else promotion.alias}: {promotion.reasons[0]}")
    reasons = "\n".join(f"- {reason}" for reason in promotion.reasons)
    show.artifact(
        "promote", "Champion or challenger", f"**{promotion.alias}** (version {version.version})\n\n{reasons}"
    )
    return promotion
