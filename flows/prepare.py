"""From raw files to rows worth training on."""

from __future__ import annotations

from prefect import flow

from posttrain.data.curate import CurateResult
from tasks.curate import curate_rows
from tasks.run import Run
from tasks.start import start
from tasks.validate import validate_rows


def prepare_rows(run: Run) -> CurateResult:
    """Validate, then curate."""
    return curate_rows(run, validate_rows(run))


@flow(name="prepare", flow_run_name="prepare {spec_path}", validate_parameters=False)
def prepare(spec_path: str) -> CurateResult:
    """The data stages alone."""
    with start(spec_path) as run:
        return prepare_rows(run)
