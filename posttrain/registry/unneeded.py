"""Artifacts of old runs behind which no registered version stands. Runs stay, with metrics and tags: weeks compare.

Finding changes nothing. MLflow is imported on first use.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posttrain import tracking
from posttrain.registry import find

if TYPE_CHECKING:
    from mlflow.entities import Run

CLEANED = "posttrain.cleaned"
"""Tag of a run whose artifacts were removed: the date."""
PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class OldRun:
    """A run of a pipeline with artifacts that can go; `runs` are its own id and those of its stages."""

    name: str
    runs: tuple[str, ...]
    size: int
    ended: float


def needed_by_versions() -> list[str]:
    """The tags of every version with an alias, as text: they name what the version was made from."""
    return [
        f"{each.source} {each.tags}"
        for name in find.names()
        for version, _ in find.aliases(name).items()
        for each in [find.version(name, version)]
    ]


def old_runs(pipeline: str, older_than: float, keep: int, now: float | None = None) -> list[OldRun]:
    """Ended runs of `pipeline`, older than `older_than` seconds, but for the newest `keep` (at least one) and for those
    that a registered version, aliased or not, came from or has its scores in. Needs an open store.

    Raises: WorkspaceError when the store does not answer.
    """
    at = time.time() if now is None else now
    experiment = tracking.client().get_experiment_by_name(pipeline)
    if experiment is None:
        return []
    runs = list(_runs(experiment.experiment_id))
    parents = [run for run in runs if PARENT not in run.data.tags]
    ended = [run for run in parents if run.info.status != "RUNNING"]
    told = [run for run in ended if "posttrain.ending" in run.data.tags]
    spared = {run.info.run_id for run in told[: max(keep, 1)]} | _registered()
    found = []
    for run in ended:
        family = [run, *(each for each in runs if each.data.tags.get(PARENT) == run.info.run_id)]
        if spared & {each.info.run_id for each in family} or CLEANED in run.data.tags:
            continue
        if (run.info.end_time or run.info.start_time) / 1000 > at - older_than:
            continue
        size = sum(_size(each) for each in family)
        ids = tuple(each.info.run_id for each in family)
        found.append(OldRun(run.info.run_name or run.info.run_id, ids, size, (run.info.end_time or 0) / 1000))
    return [run for run in found if run.size]


def remove_artifacts(run: OldRun) -> None:
    """Remove the artifacts of the run and its stages; the first gets a tag with the date."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    talker = tracking.client()
    for run_id in run.runs:
        repository = get_artifact_repository(talker.get_run(run_id).info.artifact_uri)
        for entry in repository.list_artifacts():
            repository.delete_artifacts(entry.path)  # type: ignore[no-untyped-call]
    talker.set_tag(run.runs[0], CLEANED, time.strftime("%Y-%m-%d"))


def _registered() -> set[str]:
    """Runs that any version of any model came from, or has its scores in."""
    versions = [each for name in find.names() for each in find.versions(name)]
    return {str(run) for each in versions for run in (each.run_id, each.tags.get("posttrain.scores_run")) if run}


def _runs(experiment_id: str) -> Iterator[Run]:
    """Every run, the newest first."""
    token = None
    while True:
        page = tracking.client().search_runs(
            [experiment_id], order_by=["attributes.start_time DESC"], max_results=1000, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _size(run: Run, path: str | None = None) -> int:
    """Bytes of the run's artifacts, as its store tells them."""
    found = tracking.client().list_artifacts(run.info.run_id, path)
    return sum(_size(run, entry.path) if entry.is_dir else int(entry.file_size or 0) for entry in found)
