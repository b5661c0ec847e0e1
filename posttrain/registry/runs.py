"""Find a pipeline run by what people have at hand: its report's folder, its MLflow id, or the name of its pipeline.

Reads what `posttrain run` left behind; changes nothing. MLflow is asked only when no folder is given.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from posttrain import tracking
from posttrain.artifacts import Frozen
from posttrain.errors import ModelError
from posttrain.evaluation.scores import Scores
from posttrain.outcome import Outcome
from posttrain.registry import find
from posttrain.registry.kept import kept_scores, local

FILE = "outcome.json"
WHICH = {"latest": 0, "previous": 1}
"""After the @ of a pipeline's name; the newest run that came to an end is 0."""
ID = re.compile(r"[0-9a-f]{32}")
USES = "use a report's folder, an MLflow run id, or NAME@latest or NAME@previous"


class FoundRun(Frozen):
    """A run that ended, under the words that it was asked for."""

    asked: str
    outcome: Outcome

    def scores(self, split: str) -> tuple[str, Scores] | None:
        """(what readers call the model, its scores) of the last measurement on a split; None when there is none.

        Test outputs that are gone from the workspace are taken from the registered version, if there is one.
        """
        measured = list(enumerate(self.outcome.scores))
        found = next((pair for pair in reversed(measured) if pair[1].split == split), None)
        if found is None:
            return None
        place, scores = found
        label = self.outcome.labels[place] if place < len(self.outcome.labels) else f"{scores.split}, {scores.asked}"
        return label, scores if Path(scores.outputs.uri).is_file() else self._kept(scores)

    def _kept(self, scores: Scores) -> Scores:
        uri = self.outcome.model_uri
        if uri is None or scores.split != "test":
            return scores
        find.open_store(Path())
        name, version = uri.removeprefix("models:/").rsplit("/", 1)
        return kept_scores(find.version(name, version)) or scores


def find_run(asked: str) -> FoundRun:
    """The run that the words name. Raises: ModelError, WorkspaceError in one line."""
    path = Path(asked)
    folder = path if path.is_dir() else path.parent
    if (path.is_dir() or path.name in (FILE, "index.html")) and (folder / FILE).is_file():
        return _read(asked, folder / FILE)
    if path.is_dir():
        raise ModelError(f"{asked}: has no {FILE}, expected the folder of a run's report; {USES}")
    find.open_store(Path())
    name, at, which = asked.rpartition("@")
    if at:
        return _read(asked, Path(local(f"{_of_pipeline(name, which).info.artifact_uri}/{FILE}")))
    if not ID.fullmatch(asked):
        raise ModelError(f"{asked}: names no run; {USES}")
    return _of_id(asked)


def _of_id(run_id: str) -> FoundRun:
    from mlflow import MlflowException

    try:
        uri = tracking.client().get_run(run_id).info.artifact_uri
        return _read(run_id, Path(local(f"{uri}/{FILE}")))
    except (MlflowException, OSError):
        raise ModelError(f"{run_id}: no run of this id that came to an end in this MLflow store; {USES}") from None


def _of_pipeline(name: str, which: str) -> Any:
    if which not in WHICH:
        raise ModelError(f"{name}@{which}: found {which!r} after the @, expected latest or previous")
    talker = tracking.client()
    experiment = talker.get_experiment_by_name(name)
    if experiment is None:
        raise ModelError(f"{name}@{which}: no pipeline of that name has run in this MLflow store; {USES}")
    ended = talker.search_runs(
        [experiment.experiment_id],
        "tags.`posttrain.ending` LIKE '%'",
        order_by=["attributes.start_time DESC"],
        max_results=2,
    )
    if len(ended) <= WHICH[which]:
        raise ModelError(f"{name}@{which}: found {len(ended)} run{'s' * (len(ended) != 1)} that came to an end; {USES}")
    return ended[WHICH[which]]


def _read(asked: str, path: Path) -> FoundRun:
    try:
        return FoundRun(asked=asked, outcome=Outcome.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        wrong = f"{error.error_count()} fields differ"
        raise ModelError(f"{path}: is no outcome as this version writes it ({wrong}); run its spec again") from None
