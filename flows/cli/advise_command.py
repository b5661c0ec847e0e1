"""`posttrain advise`: the way through the flowchart, what follows from it, what it costs, and what was not chosen.

Knows no stage and no measurement; the flow in `flows/retrain.py` has them.
"""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.cli.decisions import ANSWERS, cost
from flows.cli.display import where_to_look
from flows.cli.run_command import run_pipeline
from posttrain.outcome import Outcome
from posttrain.strategy import TRAINS, Alternative, Decision, meaning


def show_advice(path: Path) -> None:
    """Measure up to the first decision of the spec at `path`, and print it. Raises: UserError; Failed."""
    run_pipeline(path, "advise_only", lambda console, outcome: print_advice(console, outcome, path))


def print_advice(console: Console, outcome: Outcome, path: Path) -> None:
    """The last decision, the path to it and the alternatives; then where to look, and what to do next."""
    decision = outcome.decisions[-1]
    console.print()
    console.print("The way through the chart", style="bold")
    print_path(console, decision)
    console.print()
    console.print(Text.assemble("→ ", decision.meaning, cost(decision)), style="bold cyan", highlight=False)
    console.print(Padding(Text(decision.reasons[-1]), (0, 0, 1, 2)), highlight=False)
    if decision.alternatives:
        console.print(alternatives_table(decision.alternatives, decision.aligner))
    console.print(where_to_look(outcome))
    if decision.action in TRAINS:
        console.print(f"posttrain run {path} does it", highlight=False)


def print_path(console: Console, decision: Decision) -> None:
    """Each box of the flowchart with its answer, and below it what the answer rests on."""
    for turn in decision.path:
        question = Text.assemble("  ", turn.question, " ", (turn.answer, ANSWERS.get(turn.answer, "yellow")))
        console.print(question, highlight=False)
        for reason in turn.because:
            console.print(Padding(Text(reason, style="dim"), (0, 0, 0, 6)), highlight=False)


def alternatives_table(alternatives: tuple[Alternative, ...], aligner: str = "DPO") -> Table:
    """A row per rung that was not chosen: what it would cost, and why not; `aligner` is alignment's method."""
    table = Table(
        title="Not chosen", title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD
    )
    table.add_column("rung", ratio=3)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("why not", ratio=6, overflow="fold")
    for other in alternatives:
        rung = meaning(other.action, aligner).partition(":")[0]
        table.add_row(Text(rung), cost(other).removeprefix(", "), Text(other.why_not))
    return table
