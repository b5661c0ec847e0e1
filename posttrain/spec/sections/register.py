"""`register`: under which name the model enters the registry, and whether it may become champion."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class RegisterSpec(Frozen):
    """The model's name in the MLflow registry, and whether it may take the alias champion."""

    model_name: str | None = setting(
        None,
        "Registered name; empty: the spec's name.",
        min_length=1,
        max_length=200,
        pattern=r"^[^/:]+$",
        source="MLflow",
    )
    promote: bool = setting(True, "Take the alias champion when the release gate passes; else only challenger.")
