"""`triggers`: what starts a run beside the clock."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting
from posttrain.spec.sections.data import OneSource


class DriftSpec(Frozen):
    """When users ask for other things than the model was trained on."""

    requests: OneSource = required(
        "What users asked lately, the newest row last: a file, a folder or an address with a prompt a row."
    )
    at_least: int = setting(
        200, "New requests that a test needs; before there are as many, none is made.", ge=20, le=100_000
    )
    sample: int = setting(300, "Prompts, and requests, that are compared at most.", ge=20, le=5000)
    significance: float = setting(
        0.01, "Largest p-value of the two-sample test that counts as drift.", source="Gretton et al. 2012", gt=0, lt=0.5
    )
    unlike: float = setting(
        0.15,
        "Smallest share of requests unlike every sampled training prompt (farther from the nearest than 95 % of the "
        "prompts are) that counts: with many requests the test finds differences that do not matter.",
        ge=0,
        le=1,
    )
    model: str = setting("auto", "What reads the texts, as curate.semantic.model.", min_length=1)


class TriggersSpec(Frozen):
    """What a watch looks for. It takes seconds, and starts the deployed pipeline only when something is new."""

    every_minutes: int | None = setting(
        None, "How often the deployed watch looks; empty: only when `posttrain watch` is called.", ge=1, le=60 * 24 * 31
    )
    new_rows: int | None = setting(
        0,
        "Start when the data changed and holds so many rows more than at the last start; 0: any change; empty: never "
        "because of the data.",
        ge=0,
    )
    new_feedback: int | None = setting(
        None, "Start when people gave so many answers since the last start; empty: never because of them.", ge=1
    )
    drift: DriftSpec | None = setting(None, "Start when requests drift away from the training prompts.")
