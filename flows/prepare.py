"""From raw files to rows worth training on."""

from __future__ import annotations

from prefect import flow

from posttrain.data.curate import CurateResult
from tasks.curate import curate_rows
from tasks.distill import ask_teacher
from tasks.run import Run
from tasks.start import start
from tasks.validate import validate_rows


def prepare_rows(run: Run) -> CurateResult:
    """Ask the teacher if there is one; validate; curate."""
    data = run.preparation
    if run.spec.synthetic.distill:
        data = data.with_rows(ask_teacher(run, data).rows)
    return curate_rows(run, data, validate_rows(run, data))


@flow(name="prepare", flow_run_name="prepare {spec_path}", validate_parameters=False)
def prepare(spec_path: str) -> CurateResult:
    """The data stages alone."""
    with start(spec_path) as run:
        return prepare_rows(run)
