"""Register task: a version with its lineage, its gates' verdicts and its card."""

from __future__ import annotations

from prefect import task

from posttrain import registry, tracking
from posttrain.artifacts import DatasetRef
from posttrain.data.curate import CurateResult
from posttrain.evaluation.scores import Scores
from posttrain.registry import Asking, CardFacts, Incumbent, Registered
from posttrain.spec.sections.align import ONLINE
from tasks import show
from tasks.baseline import Baseline
from tasks.candidate import Candidate
from tasks.policy import STAGE
from tasks.run import Run

TRAINING = ("sft", "dpo", *ONLINE)


@task(name="register", task_run_name="register", **STAGE)
def register(
    run: Run, candidate: Candidate, scores: Scores, baseline: Baseline, champion: Incumbent, rows: CurateResult
) -> Registered:
    """Make a version of the candidate in the MLflow registry, with signature, lineage, verdicts, metrics and card."""
    with run.stage("register") as stage:
        version = registry.register(
            scores.model,  # what was evaluated, and nothing else
            run.model_name,
            trained=candidate.model,
            asking=asking(run),
            scores=scores,
            run_id=run.mlflow_run_id,
            datasets=_datasets(rows),
            spec_digest=run.loaded.digest,
        )
        registry.keep_prompt(version, asking(run), run.mlflow_run_id)
        registry.keep_verdicts(version, run.verdicts)
        card = registry.keep_card(version, _facts(run, version, candidate, scores, baseline, champion, rows))
        stage.note(f"{version.name} version {version.version}{', registered already' if version.reused else ''}")
    show.artifact("register", "Model version", show.table(("field", "value"), version.model_dump().items()))
    show.artifact("model-card", "Model card", card.split("\n---\n", 1)[1])
    return version


def asking(run: Run) -> Asking:
    """How the spec has the model asked."""
    return Asking(
        system=run.spec.task.instruction,
        max_new_tokens=run.spec.evaluate.max_new_tokens,
        batch_size=run.spec.evaluate.batch_size,
    )


def _facts(
    run: Run,
    version: Registered,
    candidate: Candidate,
    scores: Scores,
    baseline: Baseline,
    champion: Incumbent,
    rows: CurateResult,
) -> CardFacts:
    spec = run.spec
    return CardFacts(
        base=spec.base.model,
        task=spec.task.kind,
        instruction=spec.task.instruction,
        datasets=_datasets(rows),
        recipes={name: run.stages[name].result.recipe for name in TRAINING if name in run.stages},
        scores=scores,
        validation=candidate.scores,
        baseline=baseline.best,
        champion=champion.scores,
        champion_version=champion.version,
        verdicts=tuple(run.verdicts),
        targets=spec.strategy.targets,
        load_line=registry.load_line(run.tracking_uri, version.name, version.version),
        lineage={
            "weights": scores.model.fingerprint,
            "spec": run.loaded.digest,
            "code": " ".join(tracking.code_version().values()),
            "MLflow run": run.mlflow_run_id,
        },
        resamples=spec.evaluate.resamples,
        seed=spec.evaluate.seed,
    )


def _datasets(rows: CurateResult) -> dict[str, DatasetRef | None]:
    return {"train": rows.train, "validation": rows.validation, "test": rows.test}
