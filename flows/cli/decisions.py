"""Decisions on the terminal: the way through the flowchart in a few lines, its cost, what was not chosen.

Knows nothing of how they are made.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from posttrain.outcome import last_decisions
from posttrain.strategy import Alternative, Decision
from posttrain.wording import duration

ANSWERS = {"yes": "green", "no": "yellow"}


def decision_path(decisions: tuple[Decision, ...]) -> RenderableType:
    """Each decision as `step → action` with its cost, the way through the flowchart, its reasons, what was not chosen.

    A question that was asked again, when more was known, is shown with its last answer.
    """
    lines: list[RenderableType] = [Text("Decisions", style="bold")]
    for decision in last_decisions(decisions):
        action = (decision.action.replace("_", " "), "bold cyan")
        lines.append(Text.assemble(f"  {decision.step} → ", action, cost(decision)))
        if decision.path:
            lines.append(Padding(_walked(decision), (0, 0, 0, 6)))
        lines += [Padding(Text(reason, style="dim"), (0, 0, 0, 6)) for reason in decision.reasons]
        if decision.alternatives:
            lines.append(Padding(Text(_not_chosen(decision), style="dim italic"), (0, 0, 0, 6)))
    return Group(*lines)


def _walked(decision: Decision) -> Text:
    """Does the prompt meet the need? no · Must a new pattern be learned? yes"""
    line = Text()
    for turn in decision.path:
        answer = (turn.answer, ANSWERS.get(turn.answer, "yellow"))
        line.append_text(Text.assemble(" · " if line else "", turn.question, " ", answer))
    return line


def _not_chosen(decision: Decision) -> str:
    others = [f"{other.action.replace('_', ' ')}{cost(other)}" for other in decision.alternatives]
    return f"not chosen: {'; '.join(others)} (the report says why)"


def cost(made: Decision | Alternative) -> str:
    """Minutes and money in words, after a comma; empty where nothing is known."""
    if made.minutes is None:
        return ""
    money = "" if made.money is None else f", {made.money:.2f}"
    return f", ≈ {duration(60 * made.minutes)}{money}"
