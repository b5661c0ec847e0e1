"""The `posttrain` command: its groups of commands, put together.

Imports nothing heavy: each command loads its own module when it is called. Knows nothing of what the commands do.
"""

from __future__ import annotations

import typer

from flows.cli import models, operating, people, pipeline, rows

app = typer.Typer(
    name="posttrain",
    help="One YAML spec in; a gated, registered, explainable model out.",
    epilog="Start with: posttrain run pipelines/voice_assistant.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

PANELS = {
    "From data to model": pipeline.commands,
    "Models": models.commands,
    "People and bad cases": people.commands,
    "Keeping it going": operating.commands,
}
for panel, commands in PANELS.items():
    for command in commands.registered_commands:
        command.rich_help_panel = panel
    app.add_typer(commands)
app.add_typer(rows.commands, rich_help_panel="From data to model")
app.add_typer(models.versions, rich_help_panel="Models")
app.add_typer(people.feedback, rich_help_panel="People and bad cases")


def main() -> None:
    """The entry point of the `posttrain` command."""
    app()
