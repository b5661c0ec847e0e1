"""Tasks of the watch: look at the data and at requests, and start the deployed pipeline, once for the same news."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from posttrain import sensing
from posttrain import spec as specs
from posttrain.artifacts import Workspace
from posttrain.errors import UserError
from posttrain.preflight import workspace_of
from posttrain.sensing import Drift, News, Watermark
from posttrain.spec import LoadedSpec
from tasks.policy import STAGE
from tasks.show import artifact, table

if TYPE_CHECKING:
    import numpy as np
    from prefect.client.schemas.objects import FlowRun


@dataclass(frozen=True)
class Watched:
    """A spec that is watched, its workspace, and how far things had come when a run was last started."""

    loaded: LoadedSpec
    workspace: Workspace
    before: Watermark | None

    @classmethod
    def of(cls, spec_path: str) -> Watched:
        """The spec at `spec_path`. Raises: SpecError."""
        loaded = specs.load(Path(spec_path))
        workspace = workspace_of(loaded)
        return cls(loaded, workspace, sensing.last(workspace, loaded.spec.name))


@dataclass(frozen=True)
class Look:
    """What was seen, what is new about it, and the requests' vectors, if they were tested."""

    mark: Watermark
    news: News
    requests: np.ndarray | None = None


@task(name="look", task_run_name="look", **STAGE)
def look(watched: Watched) -> Look:
    """The data, people's answers and requests, against what they were when a run was last started."""
    loaded, triggers = watched.loaded, watched.loaded.spec.triggers
    mark = sensing.look(loaded, watched.before)
    drift: Drift | str | None = None
    requests = None
    if triggers.drift is not None:
        from posttrain.sensing.requests import check_requests  # its embedding model takes seconds to import

        drift, tested, requests = check_requests(loaded, watched.workspace, triggers.drift, mark.requests)
        mark = mark.model_copy(update={"requests": tested})
    news = sensing.whats_new(watched.before, mark, triggers, drift)
    if not news and watched.before is not None:
        sensing.keep(watched.workspace, loaded.spec.name, sensing.without_news(watched.before, mark))
    found = [("yes", reason) for reason in news.reasons] + [("no", reason) for reason in news.quiet]
    artifact("watch", "What is new", table(("starts a run", "what was seen"), found))
    return Look(mark, news, requests)


@task(name="start-run", task_run_name="start-run", **STAGE)
def start_run(watched: Watched, seen: Look) -> str:
    """Start the deployed pipeline, and only then move the watermark on; returns what was started, in words.

    The key of the news goes with it: a watch that was killed between both starts no second run.

    Raises: UserError when the pipeline is not deployed.
    """
    name, now = watched.loaded.spec.name, datetime.now(UTC)
    try:
        run: FlowRun = run_deployment(  # type: ignore[assignment]
            f"retrain/{name}", timeout=0, as_subflow=False, idempotency_key=f"watch-{name}-{seen.mark.key}"
        )
    except ObjectNotFound:
        raise UserError(
            f"retrain/{name}: is not deployed at this Prefect server; run `posttrain deploy {watched.loaded.path}`"
        ) from None
    sensing.keep(watched.workspace, name, seen.mark.moved_on())
    if seen.requests is not None and any("drifted" in reason for reason in seen.news.reasons):
        from posttrain.sensing.requests import acted_on

        acted_on(watched.workspace, name, seen.requests)
    known = run.created is not None and run.created < now
    return f"{'was started before' if known else 'started'}: flow run {run.name}"
