"""`register`: under which name the model enters the registry, and who may make it champion."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class ApprovalSpec(Frozen):
    """A person is asked before the champion changes."""

    timeout_hours: float = setting(
        24.0,
        "How long the run waits for the answer; afterwards the version stays challenger. Needs a Prefect server with "
        "its pages (PREFECT_API_URL): that is where the form is.",
        gt=0,
        le=24 * 30,
    )


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
    approval: ApprovalSpec | None = setting(
        None, "Ask a person before the champion changes (`{}` is enough); empty: the gates decide alone."
    )
