"""What a pipeline run came to: the decision path, the verdicts, and where to look. Plain data for any display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from posttrain.artifacts import Frozen
from posttrain.evaluation.scores import Scores
from posttrain.gates import Verdict
from posttrain.strategy import Decision

Ending = Literal["promoted", "challenger", "refused", "advice"]


class Outcome(Frozen):
    """The end of a run, refused or not; a crash has no outcome."""

    name: str
    ending: Ending
    headline: str
    decisions: tuple[Decision, ...]
    verdicts: tuple[Verdict, ...]
    scores: tuple[Scores, ...] = Field(description="In order of measuring; the last are those of the final model")
    labels: tuple[str, ...] = Field(default=(), description="What readers call the model of each of `scores`")
    stage_seconds: dict[str, float]
    reused: tuple[str, ...]
    mlflow_uri: str
    mlflow_run_id: str
    report: str
    data_docs: str
    model_uri: str | None = None
    alias: str | None = None
    bad_cases: str = Field(default="", description="How many corrected bad cases are fixed; empty without any")


def last_decisions(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    """One decision a step, the last: a question may be asked again when more is known (a learning curve, no pairs)."""
    return tuple({decision.step: decision for decision in decisions}.values())
