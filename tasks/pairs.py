"""Pairs task: one call to `posttrain.training.pairs.make_pairs`."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from posttrain.artifacts import ModelRef
from posttrain.data.curate import CurateResult
from posttrain.evaluation.slices import slices_of
from posttrain.training.pairs import make_pairs as make
from posttrain.training.pairs import ranker_of
from posttrain.training.recipes import thread_count
from posttrain.training.result import PairsResult
from tasks import show
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="pairs", task_run_name="pairs", **DEVICE_STAGE)
def make_pairs(run: Run, policy: ModelRef, rows: CurateResult, lagging: Sequence[str] = ()) -> PairsResult:
    """Let the policy answer training prompts several times; the best and the worst answers make the pairs.

    The task's verifier or `align.ranker_model` tells which these are. Half of the prompts come from the slices that are
    `lagging`.
    """
    spec = run.spec
    with run.stage("pairs") as stage:
        done = make(
            policy,
            rows.train,
            spec.task,
            spec.align,
            run.workspace,
            stage.progress,
            max_new_tokens=spec.evaluate.max_new_tokens,
            threads=thread_count(spec.resources.threads),
            slices=[part for part in slices_of(spec.evaluate) if part.name in lagging],
            ranker=ranker_of(spec.align, run.root),
        )
        result = done.result
        summary = f"{result.kept:,} pairs of {result.prompts:,} prompts × {result.samples} samples"
        stage.finish(done, summary, **show.logged_pairs(result, spec.align))
    show.artifact("pairs", "On-policy preference pairs", show.pairs(result))
    return result
