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


@task(name="find-champion", **STAGE)
def find_champion(run: Run, candidate: ModelRef) -> Scores | None:
    """The champion's test scores; None when there is no champion, or when the candidate is the champion itself."""
    with run.stage("find-champion") as stage:
        champion = registry.champion(run.model_name)
        if champion is None:
            stage.note("there is none yet")
            return None
        if champion.model.fingerprint == candidate.fingerprint:
            stage.note(f"version {champion.version}, the same model")
            return None
        stage.note(f"version {champion.version}")
        return champion.scores


@task(name="promote", **STAGE)
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
