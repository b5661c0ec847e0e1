"""`posttrain validate`: the spec and its data only, in this process; no Prefect, no MLflow, no training."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from flows.cli.display import Display, make_console
from flows.operations.quiet import settle_environment
from posttrain import preflight
from posttrain.data.validate import ValidateResult

EXAMPLE = 90
"""Characters of an example that are shown; the quarantine has all."""


def validate_data(path: Path) -> None:
    """Check the spec, run the validate stage, and print what every rule found. Raises: UserError on refusal."""
    settle_environment()
    checked = preflight.check(path)
    from posttrain.preparation import Preparation

    console = make_console()
    with Display(console) as display:
        display.started("validate")
        done = Preparation.of(checked).validate(
            lambda amount, total, note="": display.progressed("validate", amount, total, note)
        )
        result = done.result
        summary = f"{result.rows_in:,} rows, {result.quarantine.rows:,} quarantined"
        display.finished("validate", done.seconds, done.reused, summary)
    console.print(rule_table(result))
    for name, place in (
        ("Data Docs", result.data_docs),
        ("quarantined rows", result.quarantine.uri),
        ("rows with a warning", result.warned.uri),
    ):
        console.print(f"{name}: {place}", markup=False, highlight=False, soft_wrap=True)


def _short(text: str) -> str:
    return text if len(text) <= EXAMPLE else f"{text[: EXAMPLE - 1]}…"


def rule_table(result: ValidateResult) -> Table:
    """A row per rule that found something: what happened to the rows, how many, and the first of them."""
    table = Table(title="What the rules found", title_justify="left", title_style="bold", header_style="bold")
    table.add_column("rule", no_wrap=True)
    table.add_column("split", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("then", no_wrap=True)
    table.add_column("for example", overflow="fold")
    for rule in result.rules:
        table.add_row(rule.rule, rule.split, f"{rule.rows:,}", rule.severity, escape(_short(rule.example)))
    return table
