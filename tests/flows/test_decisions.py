"""How a run ends on the terminal: the way through the flowchart, compactly."""

from __future__ import annotations

from rich.console import Console

from flows.cli.decisions import decision_path
from posttrain.strategy import Alternative, Decision, Turn

FIRST = Decision(
    step="baseline",
    action="collect_data",
    reasons=("only 120 usable rows",),
    evidence={},
    path=(Turn(question="Does the prompt meet the need?", answer="no"),),
)
AGAIN = FIRST.model_copy(
    update={
        "path": (*FIRST.path, Turn(question="Is there enough data?", answer="no", because=("120 of 200",))),
        "alternatives": (
            Alternative(action="use_prompt", why_not="misses slot_f1"),
            Alternative(action="sft", why_not="only 120 usable rows", minutes=2.0, money=0.5),
        ),
        "minutes": 1.0,
    }
)


def printed(*decisions: Decision) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(decision_path(decisions))
    return " ".join(capture.get().split())


def test_the_way_its_cost_and_what_was_not_chosen_stand_below_each_decision() -> None:
    assert printed(AGAIN) == (
        "Decisions baseline → collect data, ≈ 1 min 00 s Does the prompt meet the need? no · Is there enough data? no "
        "only 120 usable rows not chosen: use prompt; sft, ≈ 2 min 00 s, 0.50 (the report says why)"
    )


def test_a_question_asked_again_is_shown_once() -> None:
    assert printed(FIRST, AGAIN) == printed(AGAIN)
    assert printed(FIRST.model_copy(update={"path": ()})) == "Decisions baseline → collect data only 120 usable rows"
