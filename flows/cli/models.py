"""The commands about registered models: to list, compare, promote, export and serve them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.guard import guarded
from flows.cli.options import By

commands = typer.Typer()
versions = typer.Typer(name="models", help="Registered versions: who serves, and who should.", no_args_is_help=True)
Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="The registered model; needless if there is one only.")
]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the version.", show_default=False)]


@commands.command(epilog="Example: posttrain export voice-assistant@champion --to exported/voice-assistant")
@guarded
def export(
    model: Annotated[
        str,
        typer.Argument(metavar="NAME[@ALIAS]", help="A registered model; its champion, or another alias or version."),
    ],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write it: a new folder.", show_default=False)],
    format: Annotated[str, typer.Option(help="merged, int8, int4 (weights only, by torchao) or gguf.")] = "merged",
    spec: Annotated[
        Path | None,
        typer.Option(metavar="SPEC", help="Ask this spec's release gates of what is written.", show_default=False),
    ] = None,
) -> None:
    """Write a registered version as safetensors that others can load, checked to be what was evaluated.

    With fewer bits, it is measured on the test rows first; what the gates refuse is not written.
    """
    from flows.cli.export_command import export_model

    export_model(model, to, format, spec)


@commands.command(epilog="Example: posttrain serve voice-assistant@champion --port 8000")
@guarded
def serve(
    model: Annotated[
        str,
        typer.Argument(metavar="NAME[@ALIAS]", help="A registered model; its champion, or another alias or version."),
    ],
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.", min=1, max=65535)] = 8000,
    sample: Annotated[
        float,
        typer.Option(help="Share of requests to keep as MLflow traces; those with feedback are kept.", min=0, max=1),
    ] = 1.0,
    poll_seconds: Annotated[float, typer.Option(help="How often to look where the alias points.", min=0.1)] = 5.0,
    gpu_share: Annotated[
        float, typer.Option(help="Of the GPU's memory, for one version (vLLM); a switch needs two.", min=0.05, max=0.95)
    ] = 0.45,
) -> None:
    """Serve a registered model as an OpenAI-compatible endpoint that follows the alias: promotions and rollbacks too.

    Clients must send the token in POSTTRAIN_SERVE_TOKEN, where that is set. Ctrl-C ends it, after the last answer.
    """
    from flows.cli.serve_command import serve_model

    serve_model(model, host, port, sample, poll_seconds, gpu_share)


@versions.command("list", epilog="Example: posttrain models list voice-assistant")
@guarded
def models_list(name: Name = None) -> None:
    """Show every version with its aliases, its verdict, its scores, and who decided what, and when."""
    from flows.cli.models_command import show_versions

    show_versions(name)


@versions.command("compare", epilog="Example: posttrain models compare voice-assistant previous champion")
@guarded
def models_compare(
    words: Annotated[
        list[str], typer.Argument(metavar="[NAME] A B", help="Two versions or aliases.", show_default=False)
    ],
) -> None:
    """Show two versions' metrics side by side, with what B gains over A on the rows that both answered."""
    from flows.cli.models_command import show_comparison

    show_comparison(words)


@versions.command("promote", epilog='Example: posttrain models promote voice-assistant 3 --reason "new slots"')
@guarded
def models_promote(
    words: Annotated[
        list[str], typer.Argument(metavar="[NAME] VERSION", help="A version or an alias.", show_default=False)
    ],
    by: By = None,
    reason: Reason = "",
) -> None:
    """Make a version champion, whatever its gates said; noted with the version."""
    from flows.cli.models_command import promote

    promote(words, by, reason)


@versions.command("rollback", epilog='Example: posttrain models rollback voice-assistant --reason "slow answers"')
@guarded
def models_rollback(name: Name = None, by: By = None, reason: Reason = "") -> None:
    """Let champion and previous change places; noted with both versions."""
    from flows.cli.models_command import roll_back

    roll_back(name, by, reason)
