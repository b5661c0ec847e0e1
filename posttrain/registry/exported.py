"""A registered version's weights, checked before anyone copies them: they are what was registered, which is what was
evaluated. Knows nothing of formats.
"""

from __future__ import annotations

from pathlib import Path

from posttrain.artifacts import Frozen, ModelRef
from posttrain.errors import ModelError
from posttrain.registry import find
from posttrain.registry.kept import local
from posttrain.registry.versions import WEIGHTS


class Weights(Frozen):
    """A version's merged weights in a local folder; `model` keeps the fingerprint of what was evaluated."""

    name: str
    version: str
    model: ModelRef
    run_id: str
    checked: tuple[str, ...]
    """By what they were found to be what was evaluated, in words; empty when nothing is left to tell by."""

    @property
    def shown(self) -> str:
        """voice-assistant version 3."""
        return f"{self.name} version {self.version}"


def weights_of(wanted: str) -> Weights:
    """The weights of NAME, NAME@alias or NAME@version; NAME alone is its champion, or its newest version without one.

    They are held against the digest that was noted on registering, and against base and adapter while these are there.
    Raises: `ModelError` when there is no such version, and when its weights are not those.
    """
    from posttrain.models.export import check_merged, weights_digest
    from posttrain.models.load import saved_in

    name, _, which = wanted.partition("@")
    name = find.name_or_only(name or None)
    found = find.version(name, which or _serving(name))
    tags = found.tags
    folder = Path(local(f"models:/{name}/{found.version}"), "artifacts", WEIGHTS)
    checked = []
    if noted := tags.get("posttrain.weights"):
        if weights_digest(folder) != noted:
            raise ModelError(
                f"{name} version {found.version}: its weights in {folder} are not those that were registered; run its "
                "spec again, or restore them"
            )
        checked.append("the digest noted on registering")
    trained = _trained(tags.get("posttrain.base", ""), tags.get("posttrain.adapter", "none"))
    if trained is not None:
        check_merged(trained, folder)
        checked.append("base and adapter" if trained.adapter else "the trained model")
    return Weights(
        name=name,
        version=str(found.version),
        model=saved_in(folder, tags.get("posttrain.fingerprint", "unknown")),
        run_id=str(found.run_id),
        checked=tuple(checked),
    )


def _serving(name: str) -> str:
    """The champion, else the newest version."""
    if find.by_alias(name, "champion") is not None:
        return "champion"
    return str(find.versions(name)[0].version)


def _trained(base: str, adapter: str) -> ModelRef | None:
    """Base and adapter as they were evaluated; None where they are gone."""
    if not Path(base, "config.json").exists():
        return None
    if adapter == "none":
        return ModelRef(base=base, fingerprint="")
    return ModelRef(base=base, adapter=adapter, fingerprint="") if Path(adapter).is_dir() else None
