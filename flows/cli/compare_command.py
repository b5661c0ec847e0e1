"""`posttrain compare RUN_A RUN_B`: what the second run gains over the first, and the outputs that changed.

Loads no model and starts no server: it reads what both runs left behind.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from flows.cli.display import make_console
from flows.cli.pair_table import WIDE, explain, pair_table
from flows.cli.row_story import hint, safe
from flows.operations.quiet import settle_environment
from posttrain.data.rows import shorten
from posttrain.errors import ModelError
from posttrain.registry.runs import FoundRun, find_run
from posttrain.report.comparison import Comparison, Side, compare_runs, write_comparison
from posttrain.report.content import Changes
from posttrain.report.differences import Part, marked
from posttrain.wording import number

SHOWN = 6
"""Changed outputs on the terminal; the page has 20."""
SPLITS = ("test", "validation")
"""The first that both runs measured is compared."""


def compare_two(run_a: str, run_b: str, html: Path | None, as_json: bool) -> None:
    """Print the comparison, and write it as a page if one is wanted. Raises: UserError."""
    settle_environment()
    found = compare_runs(*_sides(find_run(run_a), find_run(run_b)))
    if html is not None:
        write_comparison(found, html)
    if as_json:
        print(found.model_dump_json(indent=2))
        return
    console = make_console()
    _print(console, found)
    if html is not None:
        hint(console, f"page: {html}")


def _sides(first: FoundRun, second: FoundRun) -> tuple[Side, Side]:
    for split in SPLITS:
        measured = [run.scores(split) for run in (first, second)]
        if measured[0] and measured[1]:
            return _side(first, *measured[0]), _side(second, *measured[1])
    raise ModelError(
        f"{first.asked}, {second.asked}: found no split that both runs measured, expected test or validation; "
        "compare runs that came to measuring"
    )


def _side(run: FoundRun, model: str, scores: object) -> Side:
    outcome = run.outcome
    return Side.model_validate(
        {
            "name": run.asked,
            "pipeline": outcome.name,
            "ending": outcome.ending,
            "headline": outcome.headline,
            "model": model,
            "run_id": outcome.mlflow_run_id,
            "model_uri": outcome.model_uri,
            "scores": scores,
        }
    )


def _print(console: Console, found: Comparison) -> None:
    for letter, side in (("A", found.first), ("B", found.second)):
        words = f"{side.pipeline}, {side.model}, {side.scores.rows:,} {side.scores.split} rows ({side.ending})"
        console.print(Text.assemble((f"{letter}  ", "bold"), safe(words), ("  " + safe(side.name), "dim")))
    if found.warning:
        console.print(Text(found.warning, style="yellow"))
    console.print(pair_table("B against A", ["A", "B"], found.pairs, console.width >= WIDE))
    explain(console, found.pairs, found.split)
    if found.changes is not None:
        _print_changes(console, found.changes)


def _print_changes(console: Console, changes: Changes) -> None:
    p_value = "" if changes.p_value is None else f", McNemar p = {changes.p_value:.3g}"
    console.print()
    counts = f"{changes.wins:,} won, {changes.losses:,} lost, {changes.ties:,} alike of {changes.compared:,} rows"
    console.print(Text(f"{counts}, counted by {changes.metric}{p_value}", style="bold"))
    console.print(f"{changes.differing:,} outputs are worded differently", style="dim", highlight=False)
    for row in changes.rows[:SHOWN]:
        style = "yellow" if row.change == "loss" else "green"
        word = "lost" if row.change == "loss" else "won "
        console.print(Text.assemble((f"{word}  ", style), safe(shorten(row.prompt, 200))))
        before, after = (" ".join(row.outputs[name].split()) for name in (changes.before, changes.after))
        texts = zip("AB", (changes.before, changes.after), marked(before, after), strict=True)
        _print_output(console, "   ", row.expected, ())
        for letter, name, parts in texts:
            value = f" {number(row.values[name])}" if row.values else ""
            _print_output(console, f"{letter}{value}  ", "", parts)


def _print_output(console: Console, head: str, text: str, parts: tuple[Part, ...]) -> None:
    """One answer on lines of its own, what differs underlined; the expected one in the background."""
    line = Text(head, style="bold") if parts else Text("expected  ", style="dim")
    if parts:
        for part, differs in parts:
            line.append(safe(part), style="underline" if differs else "not bold")
    else:
        line.append(safe(" ".join(text.split())), style="dim")
    console.print(Padding(line, (0, 0, 0, 6)), highlight=False)
