"""`posttrain rows`: what became of every row, and people's say in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.guard import guarded
from flows.cli.options import By, Spec
from posttrain.errors import SpecError

commands = typer.Typer(name="rows", help="What became of every row, and people's say in it.", no_args_is_help=True)


@commands.command("why", epilog="Example: posttrain rows why pipelines/voice_assistant.yaml train.jsonl.gz:812")
@guarded
def rows_why(
    spec: Spec,
    row: Annotated[str, typer.Argument(metavar="ROW", help="Its id, the id's beginning, or file:line.")],
) -> None:
    """Tell a row's story: its text, each stage, the rule that set it aside, its twin, where it is now."""
    from flows.cli.rows_command import show_why

    show_why(spec, row)


@commands.command("list", epilog="Example: posttrain rows list pipelines/voice_assistant.yaml --rule near_duplicate")
@guarded
def rows_list(
    spec: Spec,
    rule: Annotated[str | None, typer.Option(help="Show ten rows of this rule.", show_default=False)] = None,
) -> None:
    """Count the rows that each rule set aside, sent to review or warned of; of one rule, show ten."""
    from flows.cli.rows_command import show_list

    show_list(spec, rule)


@commands.command("restore", epilog="Example: posttrain rows restore pipelines/voice_assistant.yaml conflict")
@guarded
def rows_restore(
    spec: Spec,
    what: Annotated[str, typer.Argument(metavar="ROW|RULE", help="A row as for `why`, or a rule: all its rows.")],
    by: By = None,
    note: Annotated[str, typer.Option(help="Why.", show_default=False)] = "",
) -> None:
    """Bring back a row, or all rows of a rule, for the next run; noted in a file beside the spec."""
    from flows.cli.rows_command import restore

    restore(spec, what, by, note)


@commands.command("review", epilog="Example: posttrain rows review pipelines/voice_assistant.yaml --export review.csv")
@guarded
def rows_review(
    spec: Spec,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the queue here, .csv or .jsonl.")
    ] = None,
    read: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Take in the verdicts of this file.")
    ] = None,
    by: By = None,
) -> None:
    """Export the rows about which only a person can decide, or import the verdicts on them."""
    if (export is None) == (read is None):
        raise SpecError("posttrain rows review: give either --export FILE or --import FILE")
    from flows.cli.rows_command import export_review, import_review

    if export:
        export_review(spec, export)
    elif read:
        import_review(spec, read, by)
