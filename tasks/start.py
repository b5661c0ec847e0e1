"""Before the first stage: read the spec again, look at the data and the model, and refuse what cannot work."""

from __future__ import annotations

from posttrain.data.look import preflight
from posttrain.models.load import resolve
from posttrain.spec import load
from tasks.run import Run


def start(spec_path: str) -> Run:
    """The run of the spec at `spec_path`; nothing is written yet.

    Raises: `UserError` for a wrong spec, unreadable data, an unusable model or workspace.
    """
    run = Run(load(spec_path))
    run.workspace.check_writable()
    preflight(run.spec.data, run.spec.task, run.root)
    resolve(run.spec.base, run.root)
    return run
