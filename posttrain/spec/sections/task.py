"""`task`: what the model must learn to do."""

from __future__ import annotations

from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting


class TaskSpec(Frozen):
    """What the model must learn to do; the kind decides which metrics and filters apply."""

    kind: Literal["intent_slots", "extraction", "text"] = required(
        "What a completion is. intent_slots: JSON with an intent and its slots; extraction: any JSON; text: prose."
    )
    instruction: str = setting(
        "",
        "Sent as the system message with every row that has none of its own; training and evaluation use the same.",
        source="S2",
    )
