"""Bad-case task: the candidate and the champion, each asked what people corrected and nobody was trained on.

What was measured becomes the slice `bad_cases` of both models' test scores, so that gates, card and report treat it as
any other slice. Where nobody corrected anything there is no such slice, and no stage.
"""

from __future__ import annotations

from dataclasses import replace

from prefect import task

from posttrain import registry, tracking
from posttrain.artifacts import DatasetRef, Done, ModelRef
from posttrain.evaluation.measure import measure
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.scoring import scoring_of
from posttrain.feedback import regression
from posttrain.feedback.place import find_store
from posttrain.progress import Progress
from posttrain.registry import Incumbent
from posttrain.spec.metrics import BAD_CASES
from tasks import show
from tasks.evaluate import in_own_process
from tasks.policy import DEVICE_STAGE
from tasks.run import Run

LABEL = "bad-cases"
UNTESTABLE = ("code",)
"""Kinds whose rows need more than a prompt and an answer: nobody writes tests when correcting."""


def regression_suite(run: Run) -> DatasetRef | None:
    """The corrected bad cases that no model is trained on; None when there are none."""
    spec = run.spec
    store = find_store(spec, run.workspace) if spec.feedback.use and spec.task.kind not in UNTESTABLE else None
    if store is None:
        return None
    try:
        corrected = regression.corrected(store.items(), store.answers(), spec.bad_cases.held_back)
    finally:
        store.close()
    found = regression.suite(corrected, spec.task.instruction, run.workspace)
    return found.rows if found else None


def with_bad_cases(run: Run, scores: Scores, champion: Incumbent) -> tuple[Scores, Incumbent]:
    """Both test scores with the slice of corrected bad cases; as they are when there is none."""
    suite = regression_suite(run)
    return (scores, champion) if suite is None else measure_bad_cases(run, suite, scores, champion)


@task(name="bad-cases", task_run_name="bad-cases", **DEVICE_STAGE)
def measure_bad_cases(run: Run, suite: DatasetRef, scores: Scores, champion: Incumbent) -> tuple[Scores, Incumbent]:
    """Ask the candidate, and the champion if it is another model; say how many cases are fixed and how many are not."""
    with run.stage(LABEL) as stage:
        done = _measured(run, scores.model, suite, stage.progress)
        theirs = None
        if champion.scores is not None and (serving := registry.champion(run.model_name)):
            theirs = _measured(run, serving.model, suite, stage.progress).result
        counted = regression.fixed(done.result, theirs)
        run.bad_cases = (
            counted.in_words if counted else f"{suite.rows:,} asked, without an answer that is right in full"
        )
        figures = (
            {} if counted is None else {"fixed": counted.fixed, "failing": counted.failing, "cases": counted.cases}
        )
        if counted is not None and counted.champion is not None:
            figures["champion"] = counted.champion
        stage.finish(
            done,
            run.bad_cases,
            metrics={**tracking.score_metrics(done.result), **{name: float(count) for name, count in figures.items()}},
            datasets={BAD_CASES: suite},
        )
        tested = _with_slice(scores, done.result)
        run.stages["test"] = replace(run.stages["test"], result=tested)
    show.artifact(LABEL, "Corrected bad cases", f"**{run.bad_cases}**")
    if theirs is None or champion.scores is None:
        return tested, champion
    return tested, champion.model_copy(update={"scores": _with_slice(champion.scores, theirs)})


def _with_slice(scores: Scores, part: Scores) -> Scores:
    return scores.model_copy(update={"slices": {**scores.slices, BAD_CASES: part}})


def _measured(run: Run, model: ModelRef, suite: DatasetRef, progress: Progress) -> Done[Scores]:
    """One model on the suite, by the task's own metrics; found again when neither changed."""
    spec = run.spec
    scoring = scoring_of(spec, run.root).model_copy(update={"safety": None, "harness": None})
    return measure(
        model,
        suite,
        split=BAD_CASES,
        prompting="zero-shot",
        task=spec.task,
        spec=spec.evaluate.model_copy(update={"slices": [], "consistency": None}),
        workspace=run.workspace,
        scoring=scoring,
        progress=progress,
        launch=in_own_process,
    )
