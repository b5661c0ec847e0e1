"""Post-training, from raw rows to a registered model: the flowchart of docs/architecture.md, as a flow."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.prepare import prepare_rows
from flows.release import advise, release_model
from flows.train import align_base, draw_curve, train_model
from posttrain.data.curate import CurateResult
from posttrain.outcome import Outcome
from posttrain.strategy import Decision
from posttrain.strategy.curve import wanted_before_collecting
from tasks.baseline import Baseline, measure_baseline
from tasks.candidate import Candidate
from tasks.decide import decide_strategy, decide_without_pairs
from tasks.notify import notify, tell_failure
from tasks.run import Run
from tasks.start import start

SpecPath = Annotated[str, Field(pattern=r"\.ya?ml$")]


@flow(name="retrain", flow_run_name="retrain {spec_path}", validate_parameters=False)
def retrain(spec_path: SpecPath) -> Outcome:
    """Run the whole pipeline that a spec describes; stages that nothing changed are found, not run.

    Args:
        spec_path: The pipeline's YAML file, as the worker's machine sees it.
    """
    with start(spec_path) as run:
        rows, baseline, strategy = choose_strategy(run)
        candidate: Candidate | None = None
        match strategy.action:
            case "sft":
                candidate = train_model(run, rows, baseline)
            case "align_base":
                candidate = align_base(run, rows, baseline, strategy)
                if candidate is None:
                    decide_without_pairs(run, baseline, rows)
            case "collect_data" if wanted_before_collecting(run.spec, strategy, rows.train.rows):
                draw_curve(run, rows, baseline)
        if candidate is None:
            return notify(run, advise(run, baseline, rows))
        return notify(run, release_model(run, candidate, baseline, rows))


retrain.on_failure(tell_failure)
retrain.on_crashed(tell_failure)


@flow(name="advise", flow_run_name="advise {spec_path}", validate_parameters=False)
def advise_only(spec_path: str) -> Outcome:
    """The same up to the first decision: measure, decide, explain, and train nothing."""
    with start(spec_path) as run:
        rows, baseline, _ = choose_strategy(run)
        return advise(run, baseline, rows)


def choose_strategy(run: Run) -> tuple[CurateResult, Baseline, Decision]:
    """The rows, what the base model does with them, and what follows from it."""
    rows = prepare_rows(run)
    baseline = measure_baseline(run, rows)
    return rows, baseline, decide_strategy(run, baseline, rows)
