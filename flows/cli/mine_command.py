"""`posttrain mine`: look through what the champion served, and show which bad cases go to review.

Knows no signal and no cluster; the flow in `flows/feedback.py` has them.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.cli.run_command import run_log, run_shown
from flows.operations.quiet import settle_environment
from posttrain import preflight

SHOWN = 20


def mine_spec(path: Path) -> None:
    """Mine for the spec at `path`, and print the clusters. Raises: UserError; Failed, with its log, for the rest."""
    from flows.cli.display import make_console
    from posttrain.wording import duration

    settle_environment()
    began = time.monotonic()
    checked = preflight.check(path)
    console = make_console()
    console.print(f"[bold]{checked.loaded.spec.name}[/bold]  {path}", highlight=False)
    with run_log(checked.workspace) as log:
        result = run_shown("flows.feedback:mine", path, console, log)
        _show(console, result.clusters)
        console.print(result.in_words, style="bold", highlight=False)
        if result.queued:
            console.print(f"posttrain review {path} shows them to people", highlight=False)
        console.print(f"{duration(time.monotonic() - began)}; log: {log}", style="dim", highlight=False, soft_wrap=True)


def _show(console: Console, clusters: tuple[dict[str, str | int | float], ...]) -> None:
    """The heaviest clusters: what people asked there, how often, and what speaks against the answers."""
    if not clusters:
        return
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    for name, right in (("cluster", False), ("cases", True), ("asked", True), ("signals", False), ("example", False)):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for cluster in clusters[:SHOWN]:
        told = [str(cluster[name]) for name in ("cluster", "cases", "requests", "signals", "example")]
        table.add_row(*map(Text, told))  # as text: what users wrote is no markup
    console.print(table)
    if len(clusters) > SHOWN:
        console.print(f"and {len(clusters) - SHOWN} lighter clusters", style="dim")
