"""Report task: everything the run found, as one page and one `outcome.json`, whatever its ending."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import task

from posttrain import registry, report, tracking
from posttrain.artifacts import write_atomic
from posttrain.data.curate import CurateResult
from posttrain.evaluation import published
from posttrain.evaluation.scores import Scores
from posttrain.outcome import Ending, Outcome
from posttrain.registry import Promotion, Registered
from posttrain.training.result import TrainResult
from tasks import show
from tasks.baseline import Baseline
from tasks.candidate import Candidate
from tasks.policy import STAGE
from tasks.run import Run

SCORES = {
    "baseline-zero-shot": "Base, zero-shot",
    "baseline-few-shot": "Base, few-shot",
    "after-sft": "SFT",
    "after-dpo": "DPO",
    "test": "Test",
}
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
) -> Outcome:
    """Write the page, keep it in MLflow, and return how the run ended."""
    with run.stage("report") as stage:
        folder = run.workspace.root / "reports" / f"{run.spec.name}-{run.mlflow_run_id}"
        folder.mkdir(parents=True, exist_ok=True)
        outcome = _outcome(run, folder / "index.html", version, promotion)
        report.write(_page(run, rows, outcome, promotion), Path(outcome.report))
        write_atomic(folder / "outcome.json", outcome.model_dump_json(indent=2) + "\n")
        tracking.log_values(
            run.mlflow_run_id,
            tags={"posttrain.ending": outcome.ending, "posttrain.headline": outcome.headline},
            artifacts=[folder / "index.html", folder / "outcome.json"],
        )
        stage.note(outcome.ending)
    show.artifact("report", "How the run ended", f"**{outcome.headline}**\n\nReport: `{outcome.report}`")
    return outcome


def _outcome(run: Run, page: Path, version: Registered | None, promotion: Promotion | None) -> Outcome:
    validated = run.stages["validate"].result
    return Outcome(
        name=run.spec.name,
        ending=_ending(run, promotion),
        headline=_headline(run, promotion),
        decisions=tuple(run.decisions),
        verdicts=tuple(run.verdicts),
        scores=tuple(run.stages[label].result for label in SCORES if label in run.stages),
        stage_seconds={label: round(done.seconds, 3) for label, done in run.stages.items()},
        reused=tuple(label for label, done in run.stages.items() if done.reused),
        mlflow_uri=run.tracking_uri,
        mlflow_run_id=run.mlflow_run_id,
        report=str(page),
        data_docs=validated.data_docs,
        model_uri=f"models:/{version.name}/{version.version}" if version else None,
        alias=promotion.alias if promotion else None,
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


def _page(run: Run, rows: CurateResult, outcome: Outcome, promotion: Promotion | None) -> report.ReportInput:
    spec, validated = run.spec, run.stages["validate"].result
    measured = {SCORES[label]: run.stages[label].result for label in SCORES if label in run.stages}
    compared = {label: scores for label, scores in measured.items() if scores.split == "validation"}
    trained: dict[str, TrainResult] = {
        label: run.stages[label].result for label in ("sft", "dpo") if label in run.stages
    }
    peers = run.root / spec.data.published if spec.data.published else None
    return report.ReportInput(
        title=spec.name,
        ending=outcome.ending,
        headline=outcome.headline,
        facts={
            "task": spec.task.kind,
            "base": spec.base.model,
            "spec": str(run.loaded.path),
            "finished": time.strftime("%Y-%m-%d %H:%M"),
        },
        decisions=outcome.decisions,
        verdicts=outcome.verdicts,
        rules=tuple(report.RuleRow.model_validate(rule) for rule in validated.rules),
        funnel=tuple(report.FunnelRow.model_validate(step) for step in rows.funnel),
        other_funnels={
            part: tuple(report.FunnelRow.model_validate(step) for step in steps)
            for part, steps in rows.other_funnels.items()
        },
        curves=tuple(
            report.TrainingCurve.model_validate(
                {"label": label.upper(), "points": result.curve, "recipe": result.recipe}, from_attributes=True
            )
            for label, result in trained.items()
        ),
        scores=tuple(report.ScoreLine(label=label, scores=scores) for label, scores in measured.items()),
        targets=dict(spec.strategy.targets),
        published=published.read(peers),
        outputs=report.side_by_side(compared),
        stages=tuple(
            report.StageCost(name=label, seconds=done.seconds, reused=done.reused) for label, done in run.stages.items()
        ),
        lineage=_lineage(run, rows, outcome, promotion),
        spec_text=run.loaded.text,
    )


def _lineage(run: Run, rows: CurateResult, outcome: Outcome, promotion: Promotion | None) -> report.Lineage:
    final = outcome.scores[-1].model
    alias = promotion.alias if promotion else "champion"
    data = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    return report.Lineage(
        base=outcome.scores[0].model.base,
        model=final.fingerprint,
        model_uri=outcome.model_uri,
        alias=outcome.alias,
        alias_reasons=promotion.reasons if promotion else (),
        load_line=registry.load_line(outcome.mlflow_uri, run.model_name, alias) if promotion else "",
        datasets={name: ref.fingerprint for name, ref in data.items()},
        spec_digest=run.loaded.digest,
        code=" ".join(tracking.code_version().values()),
        mlflow_uri=outcome.mlflow_uri,
        mlflow_run_id=outcome.mlflow_run_id,
        data_docs=outcome.data_docs,
        quarantine=run.stages["validate"].result.quarantine.uri,
    )
