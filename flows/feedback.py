"""From what was served to what people should look at: one flow, deployable alone, cheap when there is nothing new."""

from __future__ import annotations

from prefect import flow

from tasks.mine import MineResult, mine_bad_cases
from tasks.start import start


@flow(name="mine", flow_run_name="mine {spec_path}", validate_parameters=False)
def mine(spec_path: str) -> MineResult:
    """Look through the requests since the last mining, and send the bad cases among them to review."""
    with start(spec_path) as run:
        return mine_bad_cases(run)
