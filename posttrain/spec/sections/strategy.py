"""`strategy`: what is good enough, which rungs of the ladder may be climbed, and what they may cost."""

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
        "auto",
        "DPO. auto: when SFT missed a target, or a slice lags, but the model knows the task; and in place of SFT when "
        "there is no new pattern to learn.",
        source="S0, S3",
    )
    new_pattern: Literal["auto", "yes", "no"] = setting(
        "auto",
        "Must a new pattern or new knowledge be learned? auto: not if a prompt knows the format and reaches 90 % of "
        "every target; then DPO or the prompt, not SFT. yes: SFT whenever a target is missed.",
        source="S0",
    )
    min_rows: int = setting(
        200, "With fewer usable rows the advice is to collect data, not to train.", source="S2", ge=0
    )
    max_bad_share: float = setting(
        0.5,
        "When rules found a larger share of the training rows wrong or harmful, the advice is to mend the data first; "
        "duplicates do not count.",
        source="S1, S3; the figure is this project's",
        ge=0,
        le=1,
    )
    max_minutes: float | None = setting(
        None,
        "Training and measuring may take this long, as estimated; a dearer rung becomes advice to use the best one "
        "below it.",
        source="S0",
        gt=0,
    )
    max_cost: float | None = setting(
        None, "The same in money; needs resources.price_per_hour, in whose unit it is.", source="S0", gt=0
    )
    learning_curve: bool = setting(
        False,
        "When rows are too few, or a target is missed after SFT, train on 25 % and 50 % of them too, to tell how many "
        "rows the target needs. Off: it takes about as long again as SFT, and the first case would train nothing.",
        source="this project",
    )
