"""The commands that bring people in: bad cases, the review page, and what other tools know of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.guard import guarded
from flows.cli.options import Spec

commands = typer.Typer()
feedback = typer.Typer(name="feedback", help="What people said, to and from other tools.", no_args_is_help=True)
Tool = Annotated[str, typer.Option(metavar="TOOL", help="argilla or label-studio.", show_default=False)]


@commands.command(epilog="Example: posttrain mine pipelines/voice_assistant.yaml")
@guarded
def mine(spec: Spec) -> None:
    """Look through what the champion served since the last time, and send bad cases to review.

    Bad: disliked, corrected by its user, unreadable, cut off, unsure, harmful. Nothing new: it ends in seconds.
    """
    from flows.cli.mine_command import mine_spec

    mine_spec(spec)


@commands.command(epilog="Example: posttrain review pipelines/voice_assistant.yaml --annotator ann --annotator bo")
@guarded
def review(
    spec: Spec,
    annotator: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Make a login link for this person; else for you.", show_default=False),
    ] = None,
    pairs: Annotated[
        int, typer.Option(metavar="N", help="Have N pairs of the last run's own samples ranked, the closest first.")
    ] = 0,
    port: Annotated[int | None, typer.Option(help="The page's port; else 8770, or a free one.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others than yourself need TLS before it.")] = (
        "127.0.0.1"
    ),
    url: Annotated[
        str | None, typer.Option(help="Where people reach it, such as https://review.example.org.", show_default=False)
    ] = None,
) -> None:
    """Open the page on which people rank, rate and correct outputs, and judge unsure rows; the next run heeds them."""
    from flows.cli.review_command import serve_page

    serve_page(spec, annotator or [], pairs, port, host, url)


@feedback.command("export", epilog="Example: posttrain feedback export SPEC items.json --to label-studio")
@guarded
def feedback_export(
    spec: Spec,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new JSON file.", show_default=False)],
    to: Tool,
) -> None:
    """Write items and answers as records of Argilla or tasks of Label Studio."""
    from flows.cli.feedback_command import export_feedback

    export_feedback(spec, file, to)


@feedback.command("import", epilog="Example: posttrain feedback import SPEC answered.json --from label-studio")
@guarded
def feedback_import(
    spec: Spec,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the tool exported.", show_default=False)],
    from_: Annotated[str, typer.Option("--from", metavar="TOOL", help="argilla or label-studio.", show_default=False)],
) -> None:
    """Read items and answers that Argilla or Label Studio exported; what is there already is not read twice."""
    from flows.cli.feedback_command import import_feedback

    import_feedback(spec, file, from_)
