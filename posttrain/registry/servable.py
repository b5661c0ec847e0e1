"""A registered version as a server needs it: its checked weights in a folder, how it is asked, and canary prompts.

Knows nothing of servers. MLflow is imported on first use.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as parquet
from pydantic import Field

from posttrain import tracking
from posttrain.artifacts import Frozen
from posttrain.errors import ModelError
from posttrain.registry import find
from posttrain.registry.kept import kept_scores, local
from posttrain.registry.versions import WEIGHTS, Asking

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CANARIES = 3
NEEDED = ("id", "prompt", "expected", "output")
"""Columns of kept outputs, without which a row is no canary."""


class Canary(Frozen):
    """A prompt that a version must answer before it gets traffic; `output` is what evaluation saw, if that is kept."""

    prompt: str
    output: str | None = None


class Servable(Frozen):
    """A version, ready to be loaded by a server."""

    name: str
    version: str
    folder: str
    asking: Asking
    canaries: tuple[Canary, ...]
    is_json: bool = Field(description="Its outputs are to be JSON, as every expected one of its test rows was")

    @property
    def shown(self) -> str:
        """voice-assistant version 3."""
        return f"{self.name} version {self.version}"


def version_with(name: str, alias: str) -> str | None:
    """The version that has the alias now, None when there is none. Raises: TransientError when the store is silent."""
    with tracking.answering():
        found = find.by_alias(name, alias)
    return str(found.version) if found else None


def servable(name: str, version: str) -> Servable:
    """Fetch a version's weights, and check that they are those that were registered.

    Raises: ModelError for weights that are not, or that no server takes; TransientError when the store is silent.
    """
    from posttrain.models.export import weights_digest
    from posttrain.models.load import has_virtual_tokens, saved_in

    with tracking.answering():
        found = find.version(name, version)
        root = Path(local(f"models:/{name}/{found.version}"))
        rows = _test_rows(found)
        config, example = _logged(root)
    folder = root / "artifacts" / WEIGHTS
    noted = found.tags.get("posttrain.weights")
    if noted and weights_digest(folder) != noted:
        raise ModelError(
            f"{name} version {version}: its weights in {folder} are not those that were registered; run its spec "
            "again, or restore them"
        )
    if has_virtual_tokens(saved_in(folder, "")):
        raise ModelError(
            f"{name} version {version}: has virtual tokens, which neither server puts before a prompt; train it with "
            "sft.method: lora, or load it with mlflow.pyfunc"
        )
    asking = Asking.model_validate({key: value for key, value in config.items() if key in Asking.model_fields})
    return Servable(
        name=name,
        version=str(found.version),
        folder=str(folder),
        asking=asking,
        canaries=_canaries(rows) or (Canary(prompt=example),),
        is_json=bool(rows) and all(_is_json(row["expected"]) for row in rows),
    )


def _logged(root: Path) -> tuple[dict[str, Any], str]:
    """The configuration that the version was logged with, and its example of a prompt."""
    from mlflow.models import Model

    model = Model.load(str(root))
    example: Any = model.load_input_example(str(root))  # a list, as it was logged
    return model.flavors["python_function"]["config"], str(next(iter(example)))


def _test_rows(found: ModelVersion) -> list[dict[str, Any]]:
    """The kept outputs of its test; nothing when they are gone, or were never tagged."""
    scores = kept_scores(found)
    if scores is None or not Path(scores.outputs.uri).is_file():
        return []
    table = parquet.read_table(scores.outputs.uri)
    rows: list[dict[str, Any]] = table.to_pylist() if set(NEEDED) <= set(table.column_names) else []
    return rows


def _canaries(rows: list[dict[str, Any]]) -> tuple[Canary, ...]:
    """The shortest prompts whose output ended by itself in evaluation: what did not end there need not end here."""
    ended = [row for row in rows if row["output"].strip() and row.get("stop_rate", 1.0) == 1.0]
    chosen = sorted(ended, key=lambda row: (len(row["prompt"]), row["id"]))[:CANARIES]
    return tuple(Canary(prompt=row["prompt"], output=row["output"]) for row in chosen)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False
