"""Report task: everything the run found, as one page and one `outcome.json`, whatever its ending."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from posttrain import report, tracking
from posttrain.artifacts import write_atomic
from posttrain.data.curate import CurateResult
from posttrain.evaluation.scores import Scores
from posttrain.outcome import Ending, Outcome
from posttrain.registry import Incumbent, Promotion, Registered
from tasks import show
from tasks.baseline import Baseline
from tasks.candidate import Candidate
from tasks.page import measured_models, page
from tasks.policy import STAGE
from tasks.run import Run

ENDINGS: dict[str, Ending] = {"champion": "promoted", "challenger": "challenger"}


@task(name="report", task_run_name="report", **STAGE)
def conclude(
    run: Run,
    rows: CurateResult,
    baseline: Baseline,
    candidate: Candidate | None = None,
    scores: Scores | None = None,
    version: Registered | None = None,
    promotion: Promotion | None = None,
    champion: Incumbent | None = None,
) -> Outcome:
    """Write the page, keep it in MLflow, and return how the run ended."""
    with run.stage("report") as stage:
        folder = run.workspace.root / "reports" / f"{run.spec.name}-{run.mlflow_run_id}"
        folder.mkdir(parents=True, exist_ok=True)
        outcome = _outcome(run, folder / "index.html", version, promotion)
        made = page(run, rows, baseline, outcome, candidate, promotion, champion)
        report.write(made, Path(outcome.report))
        write_atomic(folder / "outcome.json", outcome.model_dump_json(indent=2) + "\n")
        tracking.log_values(
            run.mlflow_run_id,
            tags={"posttrain.ending": outcome.ending, "posttrain.headline": outcome.headline},
            artifacts=[folder / "index.html", folder / "outcome.json"],
        )
        price = run.spec.resources.price_per_hour
        tracking.log_cost(run.mlflow_run_id, outcome.stage_seconds, outcome.reused, price)
        stage.note(outcome.ending)
    page_there = tracking.run_page(run.mlflow_run_id)
    show.link("mlflow", page_there, "This run in MLflow")
    places = [
        ("report", outcome.report),
        ("MLflow run", page_there or f"{outcome.mlflow_run_id} ({tracking.masked(outcome.mlflow_uri)})"),
        ("Data Docs", outcome.data_docs),
        ("model", outcome.model_uri or "none was registered"),
    ]
    show.artifact("report", "How the run ended", f"**{outcome.headline}**\n\n{show.table(('what', 'where'), places)}")
    return outcome


def _outcome(run: Run, page: Path, version: Registered | None, promotion: Promotion | None) -> Outcome:
    validated, measured = run.stages["validate"].result, measured_models(run)
    return Outcome(
        name=run.spec.name,
        ending=_ending(run, promotion),
        headline=_headline(run, promotion),
        decisions=tuple(run.decisions),
        verdicts=tuple(run.verdicts),
        scores=tuple(measured.values()),
        labels=tuple(measured),
        stage_seconds={label: round(done.seconds, 3) for label, done in run.stages.items()},
        reused=tuple(label for label, done in run.stages.items() if done.reused),
        mlflow_uri=run.tracking_uri,
        mlflow_run_id=run.mlflow_run_id,
        report=str(page),
        data_docs=validated.data_docs,
        model_uri=f"models:/{version.name}/{version.version}" if version else None,
        alias=promotion.alias if promotion else None,
        bad_cases=run.bad_cases,
    )


def _ending(run: Run, promotion: Promotion | None) -> Ending:
    if promotion is not None:
        return ENDINGS[promotion.alias]
    return "refused" if run.verdicts else "advice"


def _headline(run: Run, promotion: Promotion | None) -> str:
    if promotion is not None:
        return f"{promotion.name} version {promotion.version} is {promotion.alias}: {promotion.reasons[0]}"
    decision = run.decisions[-1]
    refused = [verdict for verdict in run.verdicts if not verdict.passed]
    return refused[-1].summary if refused else f"{decision.action.replace('_', ' ')}: {decision.reasons[-1]}"
