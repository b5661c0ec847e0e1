"""The live terminal: a line per stage, then the decisions, the verdicts and where to look.

Takes plain data and a rich console; knows nothing of Prefect, MLflow or how a stage works.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from flows.cli.decisions import decision_path
from posttrain.gates import Check, Verdict
from posttrain.outcome import Outcome
from posttrain.wording import duration, number

NAME_WIDTH = 22
PLAIN_WIDTH = 140
"""Columns where there is no terminal to ask: in a log file, tables need not be squeezed into 80."""
PLAIN_EVERY_SECONDS = 15.0
ENDINGS = {
    "promoted": "bold green",
    "challenger": "bold yellow",
    "registered": "bold green",
    "refused": "bold yellow",
    "advice": "bold cyan",
}


def make_console() -> Console:
    """Standard output: as wide as the terminal or `COLUMNS`, and wide where there is neither."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console()
    return Console(width=PLAIN_WIDTH)


class RateColumn(ProgressColumn):
    """Units a second, or seconds a unit when they are slow."""

    def render(self, task: Task) -> Text:
        return Text(rate(task.speed), style="cyan")


def rate(speed: float | None) -> str:
    """A speed in units a second, as people say it."""
    if not speed:
        return ""
    return f"{speed:,.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"


class Display:
    """A `tasks.watch.Listener`: bars on a terminal, plain lines elsewhere. Use as a context manager.

    A finished stage leaves one line; the present one shows bar, rate and time left below it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._bars: dict[str, TaskID] = {}
        self._spoke: dict[str, float] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(f"{{task.description:<{NAME_WIDTH}}}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}", style="dim"),
            RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            transient=True,
            redirect_stdout=self._live,
            redirect_stderr=self._live,
            disable=not self._live,
        )

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def waiting(self, note: str) -> None:
        """What is being waited for before the first stage."""
        self.started(note)

    def started(self, stage: str) -> None:
        """A stage begins: show its bar, without an end until it tells one."""
        for waiting in [name for name in self._bars if name.endswith("…")]:
            self._close(waiting)
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=None, amount="", note="")
        self._spoke[stage] = time.monotonic()

    def progressed(self, stage: str, done: float, total: float, note: str) -> None:
        """Move the bar; on a plain output, say a line every 15 seconds."""
        if stage not in self._bars:
            self.started(stage)
        amount = f"{done:,.0f}/{total:,.0f}" if total else ""
        self._progress.update(self._bars[stage], completed=done, total=total or None, amount=amount, note=note)
        if not self._live and time.monotonic() - self._spoke[stage] >= PLAIN_EVERY_SECONDS:
            self._spoke[stage] = time.monotonic()
            self.console.print(f"  … {stage:<{NAME_WIDTH}} {amount} {note}".rstrip(), markup=False, highlight=False)

    def retried(self, stage: str, attempt: int, reason: str) -> None:
        """A transient fault."""
        self._line("yellow", "↻", stage, "try again", f"after try {attempt}: {reason}")

    def finished(self, stage: str, seconds: float, reused: bool, summary: str) -> None:
        """The stage's one lasting line."""
        self._close(stage)
        self._line("green", "✓", stage, "unchanged" if reused else duration(seconds), summary)

    def failed(self, stage: str, reason: str) -> None:
        """The stage ended without a result."""
        self._close(stage)
        self._line("red", "✗", stage, "failed", reason)

    def _close(self, stage: str) -> None:
        if (bar := self._bars.pop(stage, None)) is not None:
            self._progress.remove_task(bar)

    def _line(self, style: str, mark: str, stage: str, took: str, rest: str) -> None:
        first = (rest.splitlines() or [""])[0]
        self.console.print(
            f"[{style}]{mark}[/{style}] {escape(stage):<{NAME_WIDTH}} [cyan]{took:>12}[/cyan]  {escape(first)}",
            highlight=False,
            soft_wrap=not self._live,
        )


def show_outcome(console: Console, outcome: Outcome) -> None:
    """The decision path with its reasons, the verdict table, and where to look."""
    console.print()
    console.print(decision_path(outcome.decisions))
    if outcome.verdicts:
        console.print(verdict_table(outcome.verdicts))
    for verdict in outcome.verdicts:
        for check in verdict.checks:
            if not check.passed:
                console.print(f"  {verdict.name}: {check.reason}", style="yellow", markup=False, highlight=False)
    console.print()
    console.print(outcome.headline, style=ENDINGS[outcome.ending], markup=False, highlight=False)
    if outcome.bad_cases:
        console.print(f"bad cases: {outcome.bad_cases}", markup=False, highlight=False)
    console.print(where_to_look(outcome))


def verdict_table(verdicts: tuple[Verdict, ...]) -> Table:
    """A row per check: value with its 95 % interval, what was required, the reference, the gain, the smallest gain that
    so many rows can show, the gain's p, and the outcome."""
    table = Table(title="Verdicts", title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)
    numbers = ("value [95 %]", "gain [95 %]", "shows from", "p")
    for name in ("gate", "metric", numbers[0], "requirement", "reference", *numbers[1:], "outcome"):
        table.add_column(name, justify="right" if name in numbers else "left")
    for verdict in verdicts:
        for index, check in enumerate(verdict.checks):
            last = index == len(verdict.checks) - 1
            table.add_row(verdict.name if index == 0 else "", *_check_cells(check), end_section=last)
    return table


def _check_cells(check: Check) -> tuple[str, ...]:
    reference = "" if check.reference_value is None else f"{check.reference} {number(check.reference_value)}"
    return (
        escape(f"{check.slice}: {check.metric}" if check.slice else check.metric),
        f"{number(check.value)} {interval(check.low, check.high)}".strip(),
        check.requirement,
        reference,
        "" if check.gain is None else f"{check.gain:+.3f} {interval(check.gain_low, check.gain_high)}".strip(),
        "" if check.detectable is None else number(check.detectable),
        "" if check.p_value is None else ("<0.001" if check.p_value < 0.001 else f"{check.p_value:.3f}"),
        f"[{'green' if check.passed else 'yellow'}]{check.outcome.replace('_', ' ')}[/]",
    )


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval, escaped for rich; empty when there is none."""
    return "" if low is None or high is None else escape(f"[{number(low)}, {number(high)}]")


def where_to_look(outcome: Outcome) -> RenderableType:
    """Report, Data Docs, MLflow run, and the line that loads the model."""
    table = Table.grid(padding=(0, 2))
    rows = [
        ("report", outcome.report),
        ("Data Docs", outcome.data_docs),
        ("MLflow run", f"{outcome.mlflow_run_id} (posttrain ui shows it)"),
    ]
    if outcome.model_uri:
        rows.append(("model", f'mlflow.pyfunc.load_model("{outcome.model_uri}")'))
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    return table
