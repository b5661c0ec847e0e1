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
from posttrain.training import by_spec, recipes, sft
from posttrain.training.job import CODE
from posttrain.training.search import SHARES, SearchResult, Value, nearest, search, space_of
from posttrain.training.subset import subset
from posttrain.training.supervise import LIBRARIES

if TYPE_CHECKING:
    from posttrain.spec import PipelineSpec

Measure = Callable[[ModelRef, Progress], Scores]
FEWEST = 50
"""A share of the rows smaller than this tells nothing of the whole, and is left out."""


def search_sft(
    spec: PipelineSpec,
    base: ModelRef,
    train: DatasetRef,
    validation: DatasetRef,
    measure: Measure,
    workspace: Workspace,
    progress: Progress = silent,
    storage: Callable[[], Any] = lambda: None,
) -> Done[SearchResult]:
    """The best values for an SFT of `base` on `train` by the metric on `validation`; found again when done before.

    `measure(model, progress)` gives a model's scores. `storage` opens the store of trials
    (`posttrain.tracking.trial_storage`). Raises: what `search` and `sft.train` raise.
    """
    wanted = spec.search
    decides = {"task": spec.task, "evaluate": spec.evaluate, "search": wanted, "sft": spec.sft, "guards": spec.guards}
    inputs = {**decides, "base": base, "train": train.fingerprint, "validation": validation.fingerprint}
    code = (*CODE, "posttrain.training.search", "posttrain.training.search_sft", sft.MODULE, "posttrain.evaluation")
    stage = Stage("search", inputs, SearchResult, code, (*LIBRARIES, "optuna"))

    # Trials at once share the machine: a GPU each, or a part of the threads.
    threads = max(1, recipes.thread_count(spec.resources.threads) // wanted.parallel)
    shared = spec.resources.model_copy(update={"processes": 1, "threads": threads})
    alone = spec.model_copy(update={"resources": shared}) if wanted.parallel > 1 else spec

    def trained(values: Mapping[str, Value], share: float, place: int, tell: Progress) -> float:
        part = train if share == 1 else subset(train, int(share * train.rows), workspace).result.train
        tried = with_values(alone, values)
        model = by_spec.train_sft(tried, base, part, validation, workspace, tell, place).result.model
        metrics = measure(model, tell).metrics
        return metrics[wanted.metric or main_metric(spec.task.kind, metrics)].value

    def work(partial: Path, final: Path) -> SearchResult:
        recipe = recipes.recommend_sft(spec.sft, base, train.rows, spec.resources)
        space = space_of(spec.sft, recipe, wanted.values)
        used = {**spec.sft.model_dump(exclude_none=True), **recipe.values}
        return search(
            space,
            trained,
            trials=wanted.trials,
            first=nearest(space, used),
            parallel=wanted.parallel,
            shares=[share for share in SHARES if share == 1 or (wanted.pruning and share * train.rows >= FEWEST)],
            higher_is_better=wanted.metric not in METRICS or METRICS[wanted.metric].higher_is_better,
            seed=wanted.seed,
            storage=storage(),
            name=f"search {stage.fingerprint}",
            progress=progress,
        )

    return run_stage(workspace, stage, work)


def with_values(spec: PipelineSpec, values: Mapping[str, Value]) -> PipelineSpec:
    """The spec with these values in its `sft` section. Raises: pydantic's error for one that `sft` does not take."""
    tried = type(spec.sft).model_validate({**spec.sft.model_dump(), **values})
    return spec.model_copy(update={"sft": tried})
