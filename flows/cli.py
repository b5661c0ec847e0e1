"""The `posttrain` command: reads the command line, hands over, and turns errors into one line and an exit code.

Imports nothing heavy: each command loads its own module when it is called. Knows nothing of what the commands do.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.failure import Failed, record
from posttrain.errors import UserError

INTERRUPTED = 130
USER_ERROR = 2
FAILED = 1

app = typer.Typer(
    name="posttrain",
    help="One YAML spec in; a gated, registered, explainable model out.",
    epilog="Start with: posttrain run pipelines/voice_assistant.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="The pipeline's YAML file.", show_default=False)]


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """User errors: their lines and exit code 2. Anything else: one line, exit code 1, the traceback in a log."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except UserError as error:
            for line in str(error).splitlines():
                _complain(line)
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt:
            _complain("interrupted; run the same command again to go on from where it stopped")
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:  # the reader, `head` for one, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        except Exception as error:
            failed = error if isinstance(error, Failed) else record(error)
            _complain(f"{failed}; see {failed.log}")
            raise typer.Exit(FAILED) from None

    return run


def _complain(line: str) -> None:
    print(f"error: {line}", file=sys.stderr, flush=True)


@app.command(epilog="Example: posttrain run pipelines/voice_assistant.yaml")
@guarded
def run(spec: Spec) -> None:
    """Run the pipeline: validate, curate, measure, train, gate, register, promote.

    Stages whose inputs, settings and code are unchanged are found rather than run again; a stopped run goes on from
    its newest checkpoint.
    """
    from flows.run_command import run_pipeline

    run_pipeline(spec)


@app.command(epilog="Example: posttrain plan pipelines/voice_assistant.yaml")
@guarded
def plan(spec: Spec) -> None:
    """Show what would run, with which values and why, what is cached, and the estimated time and memory."""
    from flows.plan_command import show_plan

    show_plan(spec)


@app.command(epilog="Example: posttrain validate pipelines/voice_assistant.yaml")
@guarded
def validate(spec: Spec) -> None:
    """Check the spec and its data only: the table of rules, the quarantined rows and the Data Docs."""
    from flows.validate_command import validate_data

    validate_data(spec)


@app.command(epilog="Example: posttrain schema > pipeline.schema.json")
@guarded
def schema() -> None:
    """Print the spec's JSON Schema, for editors: every field with its meaning, default and source."""
    import json

    from posttrain.spec import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command(epilog="Example: posttrain init data/tickets.jsonl --out pipelines/tickets.yaml")
@guarded
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A data file to look at.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where to write the spec; else pipelines/<its name>.yaml.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a spec that is there already.")] = False,
) -> None:
    """Look at a data file and write a commented starter spec for it."""
    from flows.init_command import write_starter

    write_starter(file, out, force)


@app.command(epilog="Example: posttrain ui --prefect-port 4201 --mlflow-port 5001")
@guarded
def ui(
    prefect_port: Annotated[int | None, typer.Option(help="Prefect's port; else 4200, or a free one.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="MLflow's port; else 5000, or a free one.")] = None,
) -> None:
    """Start the Prefect server and the MLflow server and print both addresses; Ctrl-C stops both."""
    from flows.ui_command import serve

    serve(prefect_port, mlflow_port)


@app.command(epilog="Example: posttrain deploy pipelines/voice_assistant.yaml --pool posttrain")
@guarded
def deploy(
    spec: Spec,
    pool: Annotated[str, typer.Option(help="The Prefect work pool whose worker runs it.")] = "posttrain",
) -> None:
    """Register the spec's schedule with a Prefect server, so that its worker retrains by itself."""
    from flows.deploy import deploy_spec

    deploy_spec(spec, pool)


def main() -> None:
    """The entry point of the `posttrain` command."""
    app()


if __name__ == "__main__":
    main()
