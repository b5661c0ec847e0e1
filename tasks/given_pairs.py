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
    """The pairs of `data.preference`, after curation."""
    with run.stage("given-pairs") as stage:
        result = given_pairs(preference)
        stage.note(f"{result.kept:,} pairs of data.preference")
    show.artifact("given-pairs", "Preference pairs that people gave", show.pairs(result))
    return result
