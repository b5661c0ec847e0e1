"""A trained model with what speaks for and against it."""

from __future__ import annotations

from posttrain.artifacts import Frozen, ModelRef
from posttrain.evaluation.scores import Scores
from posttrain.gates import Verdict
from posttrain.strategy import Decision


class Candidate(Frozen):
    """What training hands to release: the model, its validation scores, the last gate's verdict and the decision."""

    model: ModelRef
    scores: Scores
    verdict: Verdict
    decision: Decision

    @property
    def worth_releasing(self) -> bool:
        """The gate passed and the strategy did not send us back to the task's definition."""
        return self.verdict.passed and self.decision.action != "rethink"
