"""Decide tasks: one call to `posttrain.strategy.decide` each; nothing else decides."""

from __future__ import annotations

from prefect import task

from posttrain.data.curate import CurateResult
from posttrain.evaluation.learning_curve import RowsNeeded
from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Scores
from posttrain.gates import Verdict, compare
from posttrain.strategy import Decision, Evidence, decide
from posttrain.strategy.known import known_before
from posttrain.tracking import log_decision
from tasks import show
from tasks.baseline import Baseline
from tasks.policy import STAGE
from tasks.run import Run


@task(name="decide", task_run_name="decide-strategy", **STAGE)
def decide_strategy(run: Run, baseline: Baseline, rows: CurateResult) -> Decision:
    """Is the prompt enough, are examples in it enough, is there data to train on?"""
    return _decided(run, "decide-strategy", _evidence(run, baseline, rows))


@task(name="decide", task_run_name="decide-how-many-rows", **STAGE)
def decide_how_many_rows(run: Run, baseline: Baseline, rows: CurateResult, needed: RowsNeeded | None) -> Decision:
    """The first decision again, now that the learning curve is known."""
    return _decided(run, "decide-how-many-rows", _evidence(run, baseline, rows).with_curve(needed))


@task(name="decide", task_run_name="decide-without-pairs", **STAGE)
def decide_without_pairs(run: Run, baseline: Baseline, rows: CurateResult) -> Decision:
    """The first decision again, when no answer of the base model was better than another."""
    return _decided(run, "decide-without-pairs", _evidence(run, baseline, rows).without_preferences())


@task(name="decide", task_run_name="decide-after-sft", **STAGE)
def decide_after_sft(
    run: Run,
    scores: Scores,
    verdict: Verdict,
    baseline: Baseline,
    rows: CurateResult,
    needed: RowsNeeded | None = None,
) -> Decision:
    """Is the target met, can preferences close the gap, or is the task to be thought over?"""
    spec = run.spec
    metric = main_metric(spec.task.kind, scores.metrics)
    gain = compare(scores, baseline.best, metric, spec.evaluate.resamples, spec.evaluate.seed)
    evidence = _evidence(run, baseline, rows).with_sft(scores, gain, verdict).with_curve(needed)
    return _decided(run, "decide-after-sft", evidence)


def _evidence(run: Run, baseline: Baseline, rows: CurateResult) -> Evidence:
    validated = run.stages["validate"].result
    asked = (baseline.zero_shot, baseline.few_shot, baseline.step_by_step, baseline.self_consistency)
    return known_before(run.spec, run.base, validated, rows, *asked)


def _decided(run: Run, label: str, evidence: Evidence) -> Decision:
    with run.stage(label) as stage:
        decision = decide(evidence)
        log_decision(run.mlflow_run_id, decision)
        run.decisions.append(decision)  # after what may fail: a second try must not add it twice
        stage.note(decision.action.replace("_", " "))
    show.artifact(label, "What comes next, and why", show.decision(decision))
    return decision
