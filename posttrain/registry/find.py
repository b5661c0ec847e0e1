"""Find what the registry holds: the store itself, names, versions by number or alias. Changes nothing.

MLflow is imported on first use.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain import tracking
from posttrain.errors import ModelError, WorkspaceError
from posttrain.registry.lock import is_lock

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as ModelVersion

SQLITE = "sqlite:///"


def open_store(root: Path) -> str:
    """Open the tracking store that runs in `root` use, and return its URI; nothing is made.

    `MLFLOW_TRACKING_URI` wins, otherwise it is `<root>/mlruns/mlflow.db`. Raises: WorkspaceError when there is none.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root.resolve() / 'mlruns' / 'mlflow.db'}"
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise WorkspaceError(
            f"{uri}: no MLflow store there; go to the folder where `posttrain run` was started, or set "
            "MLFLOW_TRACKING_URI"
        )
    tracking.quiet_mlflow().set_tracking_uri(uri)
    return uri


def names() -> list[str]:
    """Every registered model; locks are none. Raises: WorkspaceError when the store does not answer."""
    from mlflow import MlflowException

    try:
        found = tracking.client().search_registered_models(max_results=1000)
    except MlflowException as error:
        reason = tracking.masked(str(error).splitlines()[0])
        raise WorkspaceError(
            f"MLflow store does not answer ({reason}); start its server or correct MLFLOW_TRACKING_URI"
        ) from error
    return sorted(model.name for model in found if not is_lock(model.tags))


def name_or_only(name: str | None) -> str:
    """`name` when it is registered; without one, the only registered model. Raises: ModelError."""
    known = names()
    if not known:
        raise ModelError("no model is registered in this store yet; `posttrain run SPEC` registers one")
    if name is None and len(known) > 1:
        raise ModelError(f"found {len(known)} registered models, expected the name of one: {', '.join(known)}")
    if name is not None and name not in known:
        raise ModelError(f"{name}: no such registered model; use one of {', '.join(known)}")
    return name or known[0]


def aliases(name: str) -> dict[str, list[str]]:
    """Version → its aliases, in alphabetical order."""
    found: dict[str, list[str]] = {}
    for alias, version in sorted(tracking.client().get_registered_model(name).aliases.items()):
        found.setdefault(str(version), []).append(alias)
    return found


def versions(name: str) -> list[ModelVersion]:
    """Every version, the newest first."""
    found = tracking.client().search_model_versions(f"name = '{quoted(name)}'", max_results=10_000)
    return sorted(found, key=lambda each: int(each.version), reverse=True)


def version(name: str, wanted: str) -> ModelVersion:
    """The version with this number or alias. Raises: ModelError in one line."""
    if not wanted.isdecimal():
        found = by_alias(name, wanted)
        if found is not None:
            return found
    for each in versions(name):
        if str(each.version) == wanted:
            return each
    known = [str(each.version) for each in versions(name)]
    some = ", ".join([*known[:10], *(["…"] if len(known) > 10 else []), *alias_names(name)])
    raise ModelError(f"{name}: has no version or alias {wanted!r}; use one of {some or 'none yet'}")


def alias_names(name: str) -> list[str]:
    """Every alias of the name."""
    return sorted(alias for held in aliases(name).values() for alias in held)


def by_alias(name: str, alias: str) -> ModelVersion | None:
    """The version that has the alias; neither the name nor the alias need exist.

    A store that does not answer is an error, never an absent champion.
    """
    from mlflow import MlflowException

    try:
        return tracking.client().get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def quoted(name: str) -> str:
    """A name as MLflow's filters want it."""
    return name.replace("'", "''")
