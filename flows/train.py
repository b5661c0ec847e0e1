"""SFT, its gate, and preference optimisation if the measurement asks for it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import prepare_rows
from posttrain.data.curate import CurateResult
from tasks.baseline import Baseline, measure_baseline
from tasks.candidate import Candidate
from tasks.decide import decide_after_sft
from tasks.dpo import train_dpo
from tasks.evaluate import evaluate
from tasks.gate import judge
from tasks.pairs import make_pairs
from tasks.run import Run
from tasks.sft import train_sft
from tasks.start import start


def train_model(run: Run, rows: CurateResult, baseline: Baseline) -> Candidate:
    """Train until the strategy is satisfied or has nothing more to offer."""
    sft = train_sft(run, rows)
    scores = evaluate(run, sft.model, rows, "validation", "after-sft")
    verdict = judge(run, "after_sft", scores, baseline=baseline.best)
    decision = decide_after_sft(run, scores, verdict, baseline, rows)
    tuned = Candidate(model=sft.model, scores=scores, verdict=verdict, decision=decision)
    if decision.action != "align":
        return tuned

    pairs = make_pairs(run, sft.model, rows)
    if not pairs.kept:
        return tuned
    dpo = train_dpo(run, sft.model, pairs)
    aligned = evaluate(run, dpo.model, rows, "validation", "after-dpo")
    verdict = judge(run, "after_align", aligned, baseline=baseline.best, previous=scores)
    if not verdict.passed:
        return tuned
    return Candidate(model=dpo.model, scores=aligned, verdict=verdict, decision=decision)


@flow(name="train", flow_run_name="train {spec_path}", validate_parameters=False)
def train(spec_path: str) -> Candidate:
    """Up to a measured candidate, without releasing it."""
    with start(spec_path) as run:
        rows = prepare_rows(run)
        return train_model(run, rows, measure_baseline(run, rows))
