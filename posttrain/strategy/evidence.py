"""What a decision rests on: scores, rows, preferences, the data's quality, and what each rung would cost.

Everything but the scores may be left out; a question about what is not known is then not asked. Knows nothing of how
any of it was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from posttrain.artifacts import Frozen
from posttrain.evaluation.learning_curve import RowsNeeded
from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Gain, Scores
from posttrain.gates import Verdict
from posttrain.strategy.decision import Step

if TYPE_CHECKING:
    from posttrain.spec import PipelineSpec

Rung = Literal["align_base", "sft", "align"]
"""What trains. `align` is SFT and alignment together, since both are spent when it ends."""

Preferences = Literal["people", "reward-model", "verifier", "none"]


class Quality(Frozen):
    """Rows to train on as they came, and those that a rule found wrong or harmful, by rule; duplicates are not bad."""

    rows: int
    bad: dict[str, int] = Field(default={})

    @property
    def bad_share(self) -> float:
        """Bad rows over all rows, 0 to 1."""
        return sum(self.bad.values()) / self.rows if self.rows else 0.0


class Limits(Frozen):
    """What may be spent, and how bad the data may be; None: no limit."""

    max_minutes: float | None = None
    max_cost: float | None = None
    price_per_hour: float | None = None
    max_bad_share: float = 0.5


class Evidence(Frozen):
    """All that a decision rests on; `gain` compares the trained model with the better baseline on the main metric."""

    step: Step
    kind: str
    targets: dict[str, float]
    usable_rows: int = Field(description="Training rows left after validation and curation")
    min_rows: int = 200
    align: Literal["auto", "always", "never"] = "auto"
    align_method: str = Field(default="dpo", description="As align.method has it: how alignment would be done")
    new_pattern: Literal["auto", "yes", "no"] = "auto"
    preferences: Preferences | None = Field(
        default=None, description="Who can prefer one answer to another; None: not known, so SFT is never skipped"
    )
    quality: Quality | None = None
    seconds: dict[Rung, float] = Field(default={}, description="Training and measuring that each rung would take")
    limits: Limits = Limits()
    zero_shot: Scores
    few_shot: Scores | None = None
    step_by_step: Scores | None = Field(default=None, description="Of a prompt that asks for the reasoning first")
    self_consistency: Scores | None = Field(default=None, description="Of a vote over several random answers")
    after_sft: Scores | None = Field(default=None, description="Its `slices` count too")
    gain: Gain | None = Field(
        default=None, description="after_sft minus baseline; without it intervals must not overlap"
    )
    verdict: Verdict | None = Field(default=None, description="The gate after SFT")
    rows_needed: RowsNeeded | None = Field(default=None, description="What the learning curve says, if one was made")

    @classmethod
    def of_baseline(
        cls,
        spec: PipelineSpec,
        usable_rows: int,
        zero_shot: Scores,
        few_shot: Scores | None,
        *,
        step_by_step: Scores | None = None,
        self_consistency: Scores | None = None,
        preferences: Preferences | None = None,
        quality: Quality | None = None,
        seconds: Mapping[Rung, float] | None = None,
    ) -> Evidence:
        """What is known before anything is trained."""
        strategy = spec.strategy
        return cls(
            step="baseline",
            kind=spec.task.kind,
            targets=dict(strategy.targets),
            usable_rows=usable_rows,
            min_rows=strategy.min_rows,
            align=strategy.align,
            align_method=spec.align.method,
            new_pattern=strategy.new_pattern,
            preferences=preferences,
            quality=quality,
            seconds=dict(seconds or {}),
            limits=Limits(
                max_minutes=strategy.max_minutes,
                max_cost=strategy.max_cost,
                price_per_hour=spec.resources.price_per_hour,
                max_bad_share=strategy.max_bad_share,
            ),
            zero_shot=zero_shot,
            few_shot=few_shot,
            step_by_step=step_by_step,
            self_consistency=self_consistency,
        )

    @property
    def aligner(self) -> str:
        """The method's name as people write it: DPO, PPO, GRPO, …"""
        return self.align_method.upper()

    @property
    def prompts(self) -> tuple[Scores, ...]:
        """What was measured without worked examples, from the cheapest to ask to the dearest."""
        asked = (self.zero_shot, self.step_by_step, self.self_consistency)
        return tuple(scores for scores in asked if scores is not None)

    @property
    def best(self) -> Scores:
        """The baseline that a trained model has to beat."""
        return best_baseline(self.zero_shot, self.few_shot, self.kind, self.step_by_step, self.self_consistency)

    def with_sft(self, scores: Scores, gain: Gain | None, verdict: Verdict) -> Evidence:
        """The same, and what was measured after SFT."""
        return self.model_copy(update={"step": "after_sft", "after_sft": scores, "gain": gain, "verdict": verdict})

    def without_preferences(self) -> Evidence:
        """The same, when preferences turned out not to be had."""
        return self.model_copy(update={"preferences": "none"})

    def with_curve(self, rows_needed: RowsNeeded | None) -> Evidence:
        """The same, and how many rows the learning curve asks for."""
        return self.model_copy(update={"rows_needed": rows_needed})


def best_baseline(zero_shot: Scores, few_shot: Scores | None, kind: str, *others: Scores | None) -> Scores:
    """The baseline that a trained model has to beat: the best prompting on the kind's main metric, the first of equals.

    `others` are further ways of prompting, None for those that were not measured.
    """
    metric = main_metric(kind, zero_shot.metrics)
    if metric not in zero_shot.metrics:
        return zero_shot
    measured = [scores for scores in (few_shot, *others) if scores is not None and metric in scores.metrics]
    return max((zero_shot, *measured), key=lambda scores: scores.metrics[metric].value)
