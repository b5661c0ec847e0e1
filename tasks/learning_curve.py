"""Learning-curve tasks: SFT on a part of the rows, each part measured, and what the curve says."""

from __future__ import annotations

from prefect import task

from posttrain.data.curate import CurateResult
from posttrain.evaluation.learning_curve import RowsNeeded
from posttrain.evaluation.scores import Scores
from posttrain.strategy import curve
from posttrain.training import recipes, sft
from posttrain.training.result import TrainResult
from posttrain.training.subset import subset
from tasks import show
from tasks.evaluate import evaluate
from tasks.policy import DEVICE_STAGE
from tasks.run import Run


@task(name="sft", task_run_name="sft-{share}", **DEVICE_STAGE)
def train_share(run: Run, rows: CurateResult, share: int, count: int) -> TrainResult:
    """SFT as the spec asks for it, on the first `count` training rows, `share` percent of them."""
    spec, label = run.spec, f"sft-{share}"
    with run.stage(label) as stage:
        part = subset(rows.train, count, run.workspace).result.train
        recipe = recipes.for_sft(spec.sft, run.base, part.rows, spec.resources.threads)
        done = sft.train(run.base, part, rows.validation, spec.sft, recipe, run.workspace, stage.progress, spec.guards)
        stage.finish(
            done,
            f"{part.rows:,} rows: {show.loss(done.result)}",
            params=done.result.recipe,
            metrics=done.result.metrics,
            datasets={"train": part},
        )
    show.artifact(label, f"SFT on {share} % of the rows", show.training(done.result))
    return done.result


def learning_curve(run: Run, rows: CurateResult, after_sft: Scores) -> RowsNeeded | None:
    """Train and measure on parts of the rows; `after_sft` are the scores with all of them."""
    measured = {rows.train.rows: after_sft}
    for share, count in curve.sizes(rows.train.rows).items():
        trained = train_share(run, rows, share, count)
        measured[count] = evaluate(run, trained.model, rows, "validation", f"after-sft-{share}")
    return curve.rows_needed(run.spec, measured)
