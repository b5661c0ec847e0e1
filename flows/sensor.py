"""The watch: is there anything new that a retraining could use? If so, start it; if not, end within seconds."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.sense import Watched, look, start_run


@flow(name="watch", flow_run_name="watch {spec_path}", validate_parameters=False)
def watch(spec_path: str) -> State[Any]:
    """Look once. Ends as Completed either way, and its message says what was found."""
    watched = Watched.of(spec_path)
    seen = look(watched)
    if not seen.news:
        return Completed(message=str(seen.news))
    return Completed(message=f"{start_run(watched, seen)}, because {seen.news}")
