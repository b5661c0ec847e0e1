"""The store that runs are kept in: opened, with an experiment for each pipeline; and the client that talks to it.

Knows nothing of runs.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.errors import TransientError, WorkspaceError
from posttrain.tracking.values import masked

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # MLflow's own 7 tries wait two minutes for a server that is not there
}


def connect(root: Path, pipeline: str) -> str:
    """Open the tracking store, make the experiment named `pipeline`, and return the store's URI.

    `MLFLOW_TRACKING_URI` wins; otherwise the store is `<root>/mlruns/mlflow.db` and artifacts lie beside it.

    Raises: WorkspaceError when the store cannot be opened.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlruns' / 'mlflow.db'}"
    mlflow = quiet_mlflow()
    try:
        location = artifact_folder(uri)
        mlflow.set_tracking_uri(uri)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_experiment(pipeline, location)
    except (OSError, mlflow.MlflowException) as error:
        reason = str(error).splitlines()[0]
        raise WorkspaceError(
            f"{masked(uri)}: MLflow store cannot be opened ({masked(reason)}); "
            "make its folder writable, start its server, or set MLFLOW_TRACKING_URI to another store"
        ) from error
    return uri


def quiet_mlflow() -> Any:
    """The mlflow module, imported with telemetry off and its talk kept off the terminal."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

    return mlflow


def client() -> MlflowClient:
    """A client of the store that `connect` opened."""
    quiet_mlflow()
    from mlflow import MlflowClient

    return MlflowClient()


@contextmanager
def answering() -> Iterator[None]:
    """What a store that does not answer says, as a `TransientError` of one line; MLflow's warnings are not shown.

    For work that goes on without the store. An invalid value is no silence: it stays MLflow's own error.
    """
    quiet_mlflow()
    from mlflow import MlflowException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, MlflowException) as error:
        if isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE":
            raise
        reason = masked((str(error) or type(error).__name__).splitlines()[0])
        raise TransientError(f"MLflow store does not answer ({reason[:300]})") from error


def trial_storage(pipeline: str) -> Any:
    """Where a search keeps its trials: runs of the experiment `<pipeline> search`, under a run for each search.

    For the store that `connect` opened. Needs Optuna, which is imported here.
    """
    mlflow = quiet_mlflow()
    name = f"{pipeline} search"
    open_experiment(name, artifact_folder(mlflow.get_tracking_uri()))
    from mlflow.optuna.storage import MlflowStorage

    experiment = client().get_experiment_by_name(name)
    assert experiment is not None
    return MlflowStorage(experiment_id=experiment.experiment_id)


def artifact_folder(uri: str) -> str | None:
    """Beside a SQLite database; any other store knows its own place."""
    if not uri.startswith("sqlite:///"):
        return None
    folder = Path(uri.removeprefix("sqlite:///")).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "artifacts").as_uri()


def open_experiment(name: str, location: str | None) -> None:
    """Make the experiment if it is not there; one that was deleted is restored."""
    from mlflow import MlflowException

    experiment = client().get_experiment_by_name(name)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":
            client().restore_experiment(experiment.experiment_id)
        return
    try:
        client().create_experiment(name, artifact_location=location)
    except MlflowException:
        if client().get_experiment_by_name(name) is None:  # else another process was faster
            raise
