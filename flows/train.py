"""SFT, its gate, and preference optimisation if the measurement asks for it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import prepare_rows
from posttrain.artifacts import ModelRef
from posttrain.data.curate import CurateResult
from posttrain.evaluation.scores import Scores
from posttrain.strategy import Decision
from posttrain.strategy.curve import wanted_after_sft
from posttrain.training.online import wants_reward_model
from posttrain.training.result import TrainResult
from tasks.baseline import Baseline, measure_baseline
from tasks.candidate import Candidate
from tasks.decide import decide_after_sft, decide_how_many_rows
from tasks.evaluate import evaluate
from tasks.gate import judge
from tasks.given_pairs import take_pairs
from tasks.learning_curve import learning_curve
from tasks.online import train_online
from tasks.pairs import make_pairs
from tasks.preference import train_preference
from tasks.reward_model import train_reward_model
from tasks.run import Run
from tasks.sft import train_sft
from tasks.start import start


def train_model(run: Run, rows: CurateResult, baseline: Baseline) -> Candidate:
    """Train until the strategy is satisfied or has nothing more to offer."""
    sft = train_sft(run, rows)
    scores = evaluate(run, sft.model, rows, "validation", "after-sft")
    verdict = judge(run, "after_sft", scores, baseline=baseline.best)
    wanted = wanted_after_sft(run.spec, scores, rows.train.rows)
    needed = learning_curve(run, rows, scores) if wanted else None
    decision = decide_after_sft(run, scores, verdict, baseline, rows, needed)
    tuned = Candidate(model=sft.model, scores=scores, verdict=verdict, decision=decision)
    if decision.action != "align":
        return tuned

    aligned = align(run, sft.model, rows, baseline, scores, decision)
    return aligned if aligned and aligned.verdict.passed else tuned


def align_base(run: Run, rows: CurateResult, baseline: Baseline, decision: Decision) -> Candidate | None:
    """Alignment of the base model, SFT skipped; None when there is nothing to learn from."""
    return align(run, run.base, rows, baseline, baseline.best, decision)


def align(
    run: Run, model: ModelRef, rows: CurateResult, baseline: Baseline, before: Scores, decision: Decision
) -> Candidate | None:
    """Align `model`, whose scores were `before`, by `align.method`; None when there is nothing to learn from."""
    match run.spec.align.method:
        case "ppo" | "grpo" | "rloo":
            aligned = learn_from_rewards(run, model, rows, decision)
        case _:
            aligned = learn_from_pairs(run, model, rows, decision)
    if aligned is None:
        return None
    scores = evaluate(run, aligned.model, rows, "validation", f"after-{run.spec.align.stage}")
    verdict = judge(run, "after_align", scores, baseline=baseline.best, previous=before)
    return Candidate(model=aligned.model, scores=scores, verdict=verdict, decision=decision)


def learn_from_pairs(run: Run, model: ModelRef, rows: CurateResult, decision: Decision) -> TrainResult | None:
    """DPO, IPO, KTO or ORPO on people's pairs or on the model's own; None when there is no pair."""
    given = rows.preference if decision.by_people else None
    pairs = take_pairs(run, given) if given else make_pairs(run, model, rows, decision.slices)
    return train_preference(run, model, pairs) if pairs.kept else None


def learn_from_rewards(run: Run, model: ModelRef, rows: CurateResult, decision: Decision) -> TrainResult | None:
    """PPO, GRPO or RLOO, after a reward model where people's pairs are to be rewarded; None when nothing can reward."""
    preferred = None
    if rows.preference and wants_reward_model(run.spec.rewards, rows.preference):
        compared = rows.model_copy(update={"preference": take_pairs(run, rows.preference).pairs})
        preferred = train_reward_model(run, compared, model).reward_model
    return train_online(run, model, rows, preferred, decision.slices)


def draw_curve(run: Run, rows: CurateResult, baseline: Baseline) -> Decision:
    """Too few rows to release anything, but enough to tell how many would do: train on parts of them."""
    scores = evaluate(run, train_sft(run, rows).model, rows, "validation", "after-sft")
    return decide_how_many_rows(run, baseline, rows, learning_curve(run, rows, scores))


@flow(name="train", flow_run_name="train {spec_path}", validate_parameters=False)
def train(spec_path: str) -> Candidate:
    """Up to a measured candidate, without releasing it."""
    with start(spec_path) as run:
        rows = prepare_rows(run)
        return train_model(run, rows, measure_baseline(run, rows))
