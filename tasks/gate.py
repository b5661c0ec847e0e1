"""Gate task: one call to `posttrain.gates.judge`."""

from __future__ import annotations

from prefect import runtime, task

from posttrain import gates
from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Scores
from posttrain.gates import Verdict
from posttrain.spec.metrics import BAD_CASES
from posttrain.tracking import log_verdict
from tasks import show
from tasks.policy import STAGE
from tasks.run import Run


def _label(name: str) -> str:
    return f"gate-{name.replace('_', '-')}"


def _run_name() -> str:
    return _label(runtime.task_run.parameters["name"])


@task(name="gate", task_run_name=_run_name, **STAGE)
def judge(run: Run, name: str, candidate: Scores, **references: Scores | None) -> Verdict:
    """May the candidate go on? `references`: baseline, previous, champion, as far as there are any."""
    label, spec = _label(name), run.spec
    with run.stage(label) as stage:
        demands = spec.gates.demands(name, main_metric(spec.task.kind, candidate.metrics))
        if BAD_CASES not in candidate.slices:  # nobody corrected any yet, so there is nothing to ask of the model
            demands = [demand for demand in demands if demand.slice != BAD_CASES]
        measured = spec.evaluate
        verdict = gates.judge(
            name, demands, candidate, references, measured.resamples, measured.seed, spec.gates.correction
        )
        log_verdict(run.mlflow_run_id, verdict)
        run.verdicts.append(verdict)  # after what may fail: a second try must not add it twice
        stage.note(verdict.outcome.replace("_", " "))
    show.artifact(label, f"Verdict {label}", show.verdict(verdict))
    return verdict
