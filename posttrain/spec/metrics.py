"""The metrics that a spec may name in its targets and gates, so that a misspelt one is refused before any work.

Knows names and the task kinds they are for; how they are measured is `posttrain.evaluation.metrics`, whose table
a test holds equal to this one.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

METRICS: dict[str, tuple[str, ...]] = {
    "intent_accuracy": ("intent_slots",),
    "slot_f1": ("intent_slots",),
    "field_f1": ("extraction",),
    "exact_match": ("intent_slots", "extraction", "text"),
    "token_f1": ("text",),
    "valid_json": ("intent_slots", "extraction"),
    "wrapper_consistency": ("intent_slots", "extraction"),
    "perplexity": (),
}
"""Metric → the task kinds that it is measured for; perplexity is measured on general text, whatever the task."""


def _known(name: str) -> str:
    if name in METRICS:
        return name
    near = get_close_matches(name, METRICS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(METRICS)}"
    raise ValueError(f"found metric {name!r}, which is not measured; {hint}")


MetricName = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(METRICS)})]
