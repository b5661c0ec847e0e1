"""The search of `posttrain.training.search` on SFT itself: a trial trains as the stage does and is measured as it is.

Every training and measurement of a trial is a stage of its own, so the best trial's are found again, not repeated, when
the chain goes on with its values. Knows neither MLflow nor Prefect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import DatasetRef, Done, ModelRef, Stage, Workspace, run_stage
from posttrain.evaluation.metrics import METRICS, main_metric
from posttrain.evaluation.scores import Scores
from posttrain.progress import Progress, silent
from posttrain.training import recipes, sft
from posttrain.training.job import CODE
from posttrain.training.search import SHARES, SearchResult, Value, nearest, search, space_of
from posttrain.training.subset import subset
from posttrain.training.supervise import LIBRARIES

if TYPE_CHECKING:
    from posttrain.spec import SFTSpec
    from posttrain.spec.sections.search import SearchSpec

Measure = Callable[[ModelRef, Progress], Scores]
FEWEST = 50
"""A share of the rows smaller than this tells nothing of the whole, and is left out."""


def search_sft(
    base: ModelRef,
    train: DatasetRef,
    validation: DatasetRef,
    spec: SearchSpec,
    given: SFTSpec,
    kind: str,
    measure: Measure,
    workspace: Workspace,
    progress: Progress = silent,
    *,
    measured: Mapping[str, Any],
    storage: Callable[[], Any] = lambda: None,
    threads: int | None = None,
) -> Done[SearchResult]:
    """The best values for an SFT of `base` on `train` by the metric on `validation`; found again when done before.

    `measure(model, progress)` gives a model's scores, and `measured` is what decides them. `storage` opens the store of
    trials (`posttrain.tracking.trial_storage`). Raises: what `search` and `sft.train` raise.
    """
    inputs = {
        "base": base,
        "train": train.fingerprint,
        "validation": validation.fingerprint,
        "search": spec,
        "sft": given,
        "kind": kind,
        "measured": measured,
    }
    code = (*CODE, "posttrain.training.search", "posttrain.training.search_sft", sft.MODULE, "posttrain.evaluation")
    stage = Stage("search", inputs, SearchResult, code, (*LIBRARIES, "optuna"))
    at_once = max(1, recipes.thread_count(threads) // spec.parallel)

    def trained(values: Mapping[str, Value], share: float, place: int, tell: Progress) -> float:
        tried = given.model_validate({**given.model_dump(), **values})
        part = train if share == 1 else subset(train, int(share * train.rows), workspace).result.train
        recipe = recipes.for_sft(tried, base, part.rows, at_once)
        model = sft.train(base, part, validation, tried, recipe, workspace, tell).result.model
        metrics = measure(model, tell).metrics
        return metrics[spec.metric or main_metric(kind, metrics)].value

    def work(partial: Path, final: Path) -> SearchResult:
        recipe = recipes.recommend_sft(given, base, train.rows)
        space = space_of(given, recipe, spec.values)
        used = {name: given.model_dump().get(name) for name in space} | {
            name: value for name, value in recipe.values.items() if name in space
        }
        return search(
            space,
            trained,
            trials=spec.trials,
            first=nearest(space, {name: value for name, value in used.items() if value is not None}),
            parallel=spec.parallel,
            shares=[share for share in SHARES if share == 1 or (spec.pruning and share * train.rows >= FEWEST)],
            higher_is_better=spec.metric is None or spec.metric not in METRICS or METRICS[spec.metric].higher_is_better,
            seed=spec.seed,
            storage=storage(),
            name=f"search {stage.fingerprint}",
            progress=progress,
        )

    return run_stage(workspace, stage, work)
