"""Before the first stage: check again what the command checked, for a flow may start from a schedule instead."""

from __future__ import annotations

from pathlib import Path

from posttrain.preflight import check
from tasks.run import Run


def start(spec_path: str) -> Run:
    """The run of the spec at `spec_path`; nothing is written yet.

    Raises: `UserError` for a wrong spec, unreadable data, an unusable model or workspace.
    """
    return Run(check(Path(spec_path)))
