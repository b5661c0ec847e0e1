"""Register task: one call to `posttrain.registry.register`."""

from __future__ import annotations

from prefect import task

from posttrain import registry
from posttrain.data.curate import CurateResult
from posttrain.evaluation.scores import Scores
from posttrain.registry import Asking, Registered
from tasks import show
from tasks.candidate import Candidate
from tasks.policy import STAGE
from tasks.run import Run


@task(name="register", task_run_name="register", **STAGE)
def register(run: Run, candidate: Candidate, scores: Scores, rows: CurateResult) -> Registered:
    """Make a version of the candidate in the MLflow registry, with signature, lineage, metrics and data sets."""
    spec = run.spec
    with run.stage("register") as stage:
        version = registry.register(
            candidate.model,
            run.model_name,
            asking=Asking(
                system=spec.task.instruction,
                max_new_tokens=spec.evaluate.max_new_tokens,
                batch_size=spec.evaluate.batch_size,
            ),
            scores=scores,
            run_id=run.mlflow_run_id,
            datasets={"train": rows.train, "validation": rows.validation, "test": rows.test},
            spec_digest=run.loaded.digest,
        )
        stage.note(f"{version.name} version {version.version}{', registered already' if version.reused else ''}")
    show.artifact("register", "Model version", show.table(("field", "value"), version.model_dump().items()))
    return version
