"""What can be checked before anything is written or anything slow is imported: the spec, its files, the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posttrain import spec as specs
from posttrain.artifacts import ModelRef, Workspace
from posttrain.data.look import SourceSummary
from posttrain.spec import LoadedSpec


@dataclass(frozen=True)
class Checked:
    """A spec that passed, with what was found on the way."""

    loaded: LoadedSpec
    workspace: Workspace
    base: ModelRef
    sources: tuple[SourceSummary, ...]


def check(path: Path) -> Checked:
    """Load the spec, look into every data file, find the model's weights, try the workspace.

    Raises: UserError naming the first thing that must be put right. Leaves nothing behind.
    """
    from posttrain.data import look
    from posttrain.models import load

    loaded = specs.load(path)
    workspace = workspace_of(loaded)
    workspace.check_writable()
    sources = look.preflight(loaded.spec.data, loaded.spec.task, loaded.root)
    _check_measuring(loaded)
    base = load.resolve(loaded.spec.base, loaded.root)
    return Checked(loaded, workspace, base, tuple(sources))


def _check_measuring(loaded: LoadedSpec) -> None:
    """Files of the user's that measuring reads: their mistakes are not to be found after an hour of training."""
    if loaded.spec.evaluate.metrics or loaded.spec.evaluate.safety:
        from posttrain.evaluation.scoring import scoring_of

        scoring_of(loaded.spec, loaded.root)


def workspace_of(loaded: LoadedSpec) -> Workspace:
    """The spec's workspace."""
    return Workspace((loaded.root / loaded.spec.resources.workspace).resolve())
