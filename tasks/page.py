"""What the report's page shows of a run: stages, scores, decisions and lineage gathered into one `ReportInput`.

Reads what the run holds; decides nothing and draws nothing.
"""

from __future__ import annotations

import time
from typing import get_args

from posttrain import registry, report, tracking
from posttrain.artifacts import DatasetRef
from posttrain.data.curate import CurateResult
from posttrain.evaluation import published
from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Scores
from posttrain.outcome import Outcome
from posttrain.registry import Incumbent, Promotion
from posttrain.spec.sections.align import ONLINE, Method
from posttrain.strategy.curve import SHARES
from posttrain.training.result import TrainResult
from tasks.baseline import Baseline
from tasks.candidate import Candidate
from tasks.run import Run

SCORES = {
    "baseline-zero-shot": "Base, zero-shot",
    "baseline-few-shot": "Base, few-shot",
    "after-sft": "SFT",
    "test": "Test",
}
"""Label of a measuring stage → the name that readers know."""
ALIGNED = tuple(method.upper() for method in get_args(Method))
"""Names of models after preference optimisation: its method's."""
CURVE_PARTS = tuple(f"after-sft-{share}" for share in SHARES)
"""Measured for the learning curve only: no model that could be released."""
BESIDES = (*CURVE_PARTS, "bad-cases")
"""Measurements that are no further model's: corrected bad cases are a slice of the test."""


def page(
    run: Run,
    rows: CurateResult,
    baseline: Baseline,
    outcome: Outcome,
    candidate: Candidate | None = None,
    promotion: Promotion | None = None,
    champion: Incumbent | None = None,
) -> report.ReportInput:
    """Everything on the page; parts that the run did not come to stay empty."""
    spec, validated = run.spec, run.stages["validate"].result
    measured = measured_models(run)
    compared = {label: scores for label, scores in measured.items() if scores.split == "validation"}
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
            **({"bad cases": run.bad_cases} if run.bad_cases else {}),
        },
        decisions=outcome.decisions,
        verdicts=outcome.verdicts,
        aligner=spec.align.method.upper(),
        preference=_preference(run),
        rules=tuple(report.RuleRow.model_validate(rule) for rule in validated.rules),
        funnel=tuple(report.FunnelRow.model_validate(step) for step in rows.funnel),
        other_funnels={
            part: tuple(report.FunnelRow.model_validate(step) for step in steps)
            for part, steps in rows.other_funnels.items()
        },
        curves=_curves(run),
        scores=tuple(report.ScoreLine(label=label, scores=scores) for label, scores in measured.items()),
        targets=dict(spec.strategy.targets),
        published=published.read(peers),
        changes=changes(measured, baseline, candidate, champion),
        outputs=report.side_by_side(compared),
        listings=report.listings(*list(measured.items())[-1]),
        confusion=report.confusion_of(*list(measured.items())[-1]),
        rows_curve=_rows_curve(run),
        stages=tuple(
            report.StageCost(name=label, seconds=done.seconds, reused=done.reused) for label, done in run.stages.items()
        ),
        price_per_hour=spec.resources.price_per_hour,
        lineage=_lineage(run, outcome, promotion),
        reproduction=_reproduction(run, rows),
        spec_text=run.loaded.text,
    )


def measured_models(run: Run) -> dict[str, Scores]:
    """Every measured model under the name that readers know, in the order of measuring."""
    return {
        _name(run, label): done.result
        for label, done in run.stages.items()
        if isinstance(done.result, Scores) and label not in BESIDES
    }


def _name(run: Run, label: str) -> str:
    if label == f"after-{run.spec.align.stage}":
        return run.spec.align.method.upper()
    return SCORES.get(label, label.replace("baseline-", "Base, "))


def _curves(run: Run) -> tuple[report.TrainingCurve, ...]:
    trained: dict[str, TrainResult] = {
        label: run.stages[label].result for label in ("sft", "dpo", *ONLINE) if label in run.stages
    }
    return tuple(
        report.TrainingCurve.model_validate(
            {
                "label": str(result.recipe.get("objective", label)).upper(),
                "points": result.curve,
                "recipe": result.recipe,
                "guards": [f"{one} ({one.severity.replace('_', ' ')})" for one in result.guards],
            },
            from_attributes=True,
        )
        for label, result in trained.items()
    )


def _preference(run: Run) -> str:
    """What the pairs were, if any were made."""
    made = run.stages.get("pairs")
    if made:
        return f"Method {run.spec.align.method}. {made.result.words}"
    learnt = run.stages.get(run.spec.align.stage) if run.spec.align.is_online else None
    if learnt is None:
        return ""
    result: TrainResult = learnt.result
    first, last = (point.metrics for point in (result.curve[0], result.curve[-1]))
    rewards = ", ".join(
        f"{name.split('/')[1]} {first[name]:.3f} → {last[name]:.3f}"
        for name in first
        if name.startswith("rewards/") and name.endswith("/mean")
    )
    return (
        f"Method {run.spec.align.method}: {len(result.curve)} updates; mean rewards {rewards}; "
        f"KL to the model before {last.get('objective/kl', 0.0):.2f} nats a completion."
    )


def changes(
    measured: dict[str, Scores], baseline: Baseline, candidate: Candidate | None, champion: Incumbent | None
) -> tuple[report.Changes, ...]:
    """From the better prompt to the model that goes on, from SFT to alignment, and from the champion to this run.

    `measured` is what `measured_models` found. Without a model that goes on, the last measured one takes its place, and
    without any trained one the two ways of prompting are compared.
    """
    compared = {label: scores for label, scores in measured.items() if scores.split == "validation"}
    before, after = _label(compared, baseline.best), list(compared)[-1]
    if candidate is not None:
        after = _label(compared, candidate.scores)
    trained = [label for label in compared if not label.startswith("Base")]
    pairs = [(before, after)] if trained else [(label, before) for label in compared if label != before]
    pairs += [("SFT", label) for label in compared if label in ALIGNED and "SFT" in compared]
    found = [report.compare_outputs(one, compared[one], two, compared[two]) for one, two in pairs]
    if champion is not None and champion.scores is not None and "Test" in measured:
        name = f"Champion, version {champion.version}"
        found.append(report.compare_outputs(name, champion.scores, "This run", measured["Test"]))
    return tuple(each for each in found if each is not None)


def _label(measured: dict[str, Scores], wanted: Scores) -> str:
    """The label of scores, by the outputs behind them: those of the prompts may carry each other's perplexity."""
    return next(label for label, scores in measured.items() if scores.outputs.uri == wanted.outputs.uri)


def _rows_curve(run: Run) -> report.RowsCurve | None:
    """The learning curve, if one was drawn, of the metric it was drawn for: the kind's main target, else the first."""
    parts = [(f"sft-{share}", f"after-sft-{share}") for share in SHARES]
    drawn = [pair for pair in [*parts, ("sft", "after-sft")] if pair[1] in run.stages]
    if len(drawn) <= 1:
        return None
    targets = {name: target for name, target in run.spec.strategy.targets.items() if name != "perplexity"}
    main = main_metric(run.spec.task.kind, targets)
    metric = main if main in targets else next(iter(targets), main)
    points = [(run.stages[trained].result.rows, run.stages[measured].result) for trained, measured in drawn]
    reasons = run.decisions[-1].reasons if run.decisions else ()
    return report.RowsCurve(
        metric=metric,
        target=targets.get(metric),
        points=tuple(sorted((count, scores.metrics[metric]) for count, scores in points if metric in scores.metrics)),
        words=next((reason for reason in reasons if reason.startswith("learning curve of")), ""),
    )


def _lineage(run: Run, outcome: Outcome, promotion: Promotion | None) -> report.Lineage:
    final = outcome.scores[-1].model
    alias = promotion.alias if promotion else "champion"
    return report.Lineage(
        base=outcome.scores[0].model.base,
        model=final.fingerprint,
        model_uri=outcome.model_uri,
        alias=outcome.alias,
        alias_reasons=promotion.reasons if promotion else (),
        load_line=registry.load_line(outcome.mlflow_uri, run.model_name, alias) if promotion else "",
        spec_digest=run.loaded.digest,
        code=" ".join(tracking.code_version().values()),
        mlflow_uri=outcome.mlflow_uri,
        mlflow_run_id=outcome.mlflow_run_id,
        data_docs=outcome.data_docs,
        quarantine=run.stages["validate"].result.quarantine.uri,
    )


def _reproduction(run: Run, rows: CurateResult) -> report.Reproduction:
    """Checkout, install, run; with the data and the versions that this run had."""
    version = tracking.code_version()
    commit = version.get("posttrain.commit", "")
    data: dict[str, DatasetRef | None] = {
        "train": rows.train,
        "validation": rows.validation,
        "test": rows.test,
        "general, held out": rows.general_held_out,
        "preference": rows.preference,
    }
    clean = commit.removesuffix("+changes")
    return report.Reproduction(
        commands=(
            *([f"git checkout {clean}"] if clean else []),
            "make install",
            f".venv/bin/posttrain run {run.loaded.path}",
        ),
        warning="The checkout had changes that are in no commit." if clean != commit else "",
        versions={"posttrain": version.get("posttrain.version", ""), **report.library_versions()},
        datasets={use: (ref.fingerprint, ref.rows) for use, ref in data.items() if ref is not None},
    )
