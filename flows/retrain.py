"""Post-training, from raw rows to a registered model: the flowchart of docs/architecture.md, as a flow."""

from __future__ import annotations

from prefect import flow

from flows.prepare import prepare_rows
from flows.release import advise, release_model
from flows.train import train_model
from posttrain.outcome import Outcome
from tasks.baseline import measure_baseline
from tasks.decide import decide_strategy
from tasks.start import start


@flow(name="retrain", flow_run_name="retrain {spec_path}", validate_parameters=False)
def retrain(spec_path: str) -> Outcome:
    """Run the whole pipeline that a spec describes; stages that nothing changed are found, not run."""
    with start(spec_path) as run:
        rows = prepare_rows(run)
        baseline = measure_baseline(run, rows)
        strategy = decide_strategy(run, baseline, rows)
        if strategy.action != "sft":
            return advise(run, baseline, rows)
        candidate = train_model(run, rows, baseline)
        return release_model(run, candidate, baseline, rows)
