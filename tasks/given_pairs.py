"""Pairs task: people's preferences, where the spec gave any, in place of pairs that the model makes itself."""

from __future__ import annotations

from prefect import task

from posttrain.artifacts import DatasetRef
from posttrain.training.given import given_pairs
from posttrain.training.result import PairsResult
from tasks import show
from tasks.policy import STAGE
from tasks.run import Run


@task(name="pairs", task_run_name="given-pairs", **STAGE)
def take_pairs(run: Run, preference: DatasetRef) -> PairsResult:
    """What `data.preference` says after curation, as pairs."""
    spec = run.spec
    with run.stage("pairs") as stage:
        done = given_pairs(preference, spec.align, spec.task.kind, run.workspace, stage.progress)
        result = done.result
        stage.finish(done, f"{result.kept:,} of data.preference", **show.logged_pairs(result, spec.align))
    show.artifact("given-pairs", "Preference pairs that people gave", show.pairs(result))
    return result
