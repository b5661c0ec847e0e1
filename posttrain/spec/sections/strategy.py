"""`strategy`: what is good enough, and which rungs of the ladder may be climbed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting
from posttrain.spec.metrics import MetricName


class StrategySpec(Frozen):
    """What is good enough: prompt → few-shot → SFT → DPO climbs only until the targets are met."""

    targets: dict[MetricName, FiniteFloat] = Field(
        default_factory=dict,
        description="Metric → the value that meets the need (for perplexity: at most). Empty: train, then release.",
        json_schema_extra={"source": "the user"},
    )
    align: Literal["auto", "always", "never"] = setting(
        "auto", "DPO after SFT. auto: when SFT missed a target but the model knows the task.", source="S0, S3"
    )
    min_rows: int = setting(
        200, "With fewer usable rows the advice is to collect data, not to train.", source="S2", ge=0
    )
