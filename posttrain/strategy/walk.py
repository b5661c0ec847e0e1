"""The way through the flowchart while it is walked: boxes met, reasons so far, and the decision at its end.

Knows no question.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.strategy.decision import Action, Alternative, Decision, Turn
from posttrain.strategy.evidence import Evidence
from posttrain.strategy.spending import minutes, money
from posttrain.strategy.words import numbers


@dataclass
class Walk:
    """One walk; reasons are those that people read, in the order in which they came up."""

    evidence: Evidence
    turns: list[Turn] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def ask(self, question: str, answer: bool, *because: str, words: str = "") -> bool:
        """Pass a box of the flowchart; `words` where the answer is not just yes or no."""
        told = words or ("yes" if answer else "no")
        self.turns.append(Turn(question=question, answer=told, because=tuple(part for part in because if part)))
        return answer

    def end(
        self, action: Action, *reasons: str, alternatives: list[Alternative] | None = None, rows: int | None = None
    ) -> Decision:
        """The leaf."""
        return Decision(
            step=self.evidence.step,
            action=action,
            reasons=(*self.reasons, *(reason for reason in reasons if reason)),
            evidence=numbers(self.evidence),
            path=tuple(self.turns),
            alternatives=tuple(alternatives or ()),
            minutes=minutes(self.evidence, action),
            money=money(self.evidence, action),
            rows=rows,
        )
