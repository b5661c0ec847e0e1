"""What is kept of a version's scores: metrics of the logged model, and every output, for later paired tests.

They lie in the artifacts of the run that measured it, so that the workspace may be cleaned. MLflow is imported on
first use.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain import tracking
from posttrain.artifacts import DatasetRef
from posttrain.evaluation.scores import Scores

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

FOLDER = "registered"
"""Of the run's artifacts."""


def keep_scores(name: str, version: str, run_id: str, scores: Scores, model_id: str) -> None:
    """Log metrics for the model, and keep its outputs for the paired test against the next candidate."""
    talker = tracking.client()
    metrics = {f"{scores.split}/{key}": value for key, value in tracking.score_metrics(scores).items()}
    tracking.log_values(run_id, metrics=metrics, model_id=model_id)
    for ref in (scores.outputs, scores.general, *(part.outputs for part in scores.slices.values())):
        if ref is not None:
            talker.log_artifact(run_id, ref.uri, f"{FOLDER}/{ref.fingerprint}")
    talker.log_dict(run_id, scores.model_dump(mode="json"), f"{FOLDER}/scores-{version}.json")
    talker.set_model_version_tag(name, version, "posttrain.outputs", scores.outputs.fingerprint)
    talker.set_model_version_tag(name, version, "posttrain.scores_run", run_id)


def kept_figures(found: ModelVersion) -> Scores | None:
    """The version's scores without a look at their outputs; None when they are gone."""
    from mlflow import MlflowException

    try:
        return _figures(found, _kept(found))
    except (OSError, ValueError, KeyError, MlflowException):
        return None


def kept_scores(found: ModelVersion) -> Scores | None:
    """The version's scores, their outputs pointing at local copies; None when they are gone."""
    from mlflow import MlflowException

    try:
        kept = _kept(found)
        scores = _figures(found, kept)
        outputs = _local_ref(kept, scores.outputs)
        general = _local_ref(kept, scores.general) if scores.general else None
        slices = {
            name: part.model_copy(update={"outputs": _local_ref(kept, part.outputs)})
            for name, part in scores.slices.items()
        }
    except (OSError, ValueError, KeyError, MlflowException):
        return None
    return scores.model_copy(update={"outputs": outputs, "general": general, "slices": slices})


def local(uri: str) -> str:
    """A local path of an artifact: the artifact itself when its store is a local folder."""
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(mlflow.artifacts.download_artifacts(uri))


def _kept(found: ModelVersion) -> str:
    return str(tracking.client().get_run(found.tags["posttrain.scores_run"]).info.artifact_uri) + f"/{FOLDER}"


def _figures(found: ModelVersion, kept: str) -> Scores:
    path = Path(local(f"{kept}/scores-{found.version}.json"))
    return Scores.model_validate_json(path.read_text(encoding="utf-8"))


def _local_ref(kept: str, ref: DatasetRef) -> DatasetRef:
    return ref.model_copy(update={"uri": local(f"{kept}/{ref.fingerprint}/{Path(ref.uri).name}")})
