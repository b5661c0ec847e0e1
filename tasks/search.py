"""Search task: one call to `posttrain.training.search_sft`; a retry takes the study up where it stopped."""

from __future__ import annotations

from typing import Any

from prefect import task

from posttrain import tracking
from posttrain.artifacts import ModelRef
from posttrain.data.curate import CurateResult
from posttrain.evaluation.scores import Scores
from posttrain.progress import Progress
from posttrain.training.search import SearchResult
from posttrain.training.search_sft import search_sft
from tasks import show, show_search
from tasks.evaluate import measure_apart
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="search", task_run_name="search", **DEVICE_STAGE)
def search_values(run: Run, rows: CurateResult) -> SearchResult | None:
    """Look for SFT's values, and go on with the best; None when the spec asks for no search."""
    spec = run.spec
    if not spec.search.trials:
        return None

    def measure(model: ModelRef, tell: Progress) -> Scores:
        return measure_apart(run, model, rows, "validation", limit=spec.search.rows, progress=tell).result

    with run.stage("search") as stage:
        done = search_sft(
            spec, run.base, rows.train, rows.validation, measure, run.workspace, stage.progress, lambda: _storage(run)
        )
        stage.finish(
            done,
            show_search.in_words(done.result),
            params={"search": spec.search.model_dump(mode="json"), "found": done.result.values},
            metrics={"score": done.result.score, "gain": done.result.gain, "trials": len(done.result.trials)},
            datasets={"train": rows.train, "validation": rows.validation},
            tables={"trials": show_search.trials(done.result)},
        )
    run.adopt(done.result.values)
    show.artifact("search", "Hyper-parameter search", show_search.markdown(done.result))
    return done.result


def _storage(run: Run) -> Any:
    """In the store that holds this run, which is opened by asking for its id."""
    assert run.mlflow_run_id
    return tracking.trial_storage(run.spec.name)
