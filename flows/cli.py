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
from posttrain.errors import SpecError, UserError

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
def plan(
    spec: Spec,
    devices: Annotated[
        str | None, typer.Option(metavar="COUNTxGB", help="What if it ran on these, such as 4x80, or on cpu?")
    ] = None,
) -> None:
    """Show what would run, with which values and why, what is cached, and the estimated time and memory."""
    from flows.plan_command import show_plan

    show_plan(spec, devices)


@app.command(epilog="Example: posttrain preview pipelines/voice_assistant.yaml --row 3")
@guarded
def preview(
    spec: Spec,
    stage: Annotated[str, typer.Option(help="sft, or dpo for a given pair of answers.")] = "sft",
    row: Annotated[int, typer.Option(help="Which row, 1 for the first.", min=1)] = 1,
    id: Annotated[
        str | None, typer.Option(metavar="ID", help="Its id, the id's beginning, or file:line.", show_default=False)
    ] = None,
) -> None:
    """Show one row as training sees it: every token, those that the loss counts marked, template, end and padding.

    Trains nothing and writes nothing; before curation has run, a row of the files is shown.
    """
    from flows.preview_command import show_preview

    show_preview(spec, stage, row, id)


@app.command(epilog="Example: posttrain advise pipelines/voice_assistant.yaml")
@guarded
def advise(spec: Spec) -> None:
    """Measure, decide and explain, but train nothing: which rung is needed, why, what it costs, and why no other.

    Validates, curates and measures the base model as `run` does, which then finds those stages done.
    """
    from flows.advise_command import show_advice

    show_advice(spec)


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


@app.command(epilog="Example: posttrain compare voice-assistant@previous voice-assistant@latest --html compare.html")
@guarded
def compare(
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="A report's folder, an MLflow run id, or NAME@previous.")
    ],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="The same of the other run, such as NAME@latest.")],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as a page, too.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what run B gains over run A: metrics with paired tests, slices, wins and losses, outputs that changed."""
    from flows.compare_command import compare_two

    compare_two(run_a, run_b, html, json)


@app.command(epilog="Example: posttrain export voice-assistant@champion --to exported/voice-assistant")
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
    from flows.export_command import export_model

    export_model(model, to, format, spec)


@app.command(epilog="Example: posttrain serve voice-assistant@champion --port 8000")
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
    from flows.serve_command import serve_model

    serve_model(model, host, port, sample, poll_seconds, gpu_share)


rows_app = typer.Typer(name="rows", help="What became of every row, and people's say in it.", no_args_is_help=True)
app.add_typer(rows_app)
By = Annotated[str | None, typer.Option(help="Who says so; else your user name.", show_default=False)]


@rows_app.command("why", epilog="Example: posttrain rows why pipelines/voice_assistant.yaml train.jsonl.gz:812")
@guarded
def rows_why(
    spec: Spec,
    row: Annotated[str, typer.Argument(metavar="ROW", help="Its id, the id's beginning, or file:line.")],
) -> None:
    """Tell a row's story: its text, each stage, the rule that set it aside, its twin, where it is now."""
    from flows.rows_command import show_why

    show_why(spec, row)


@rows_app.command("list", epilog="Example: posttrain rows list pipelines/voice_assistant.yaml --rule near_duplicate")
@guarded
def rows_list(
    spec: Spec,
    rule: Annotated[str | None, typer.Option(help="Show ten rows of this rule.", show_default=False)] = None,
) -> None:
    """Count the rows that each rule set aside, sent to review or warned of; of one rule, show ten."""
    from flows.rows_command import show_list

    show_list(spec, rule)


@rows_app.command("restore", epilog="Example: posttrain rows restore pipelines/voice_assistant.yaml conflict")
@guarded
def rows_restore(
    spec: Spec,
    what: Annotated[str, typer.Argument(metavar="ROW|RULE", help="A row as for `why`, or a rule: all its rows.")],
    by: By = None,
    note: Annotated[str, typer.Option(help="Why.", show_default=False)] = "",
) -> None:
    """Bring back a row, or all rows of a rule, for the next run; noted in a file beside the spec."""
    from flows.rows_command import restore

    restore(spec, what, by, note)


@rows_app.command("review", epilog="Example: posttrain rows review pipelines/voice_assistant.yaml --export review.csv")
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
    from flows.rows_command import export_review, import_review

    if export:
        export_review(spec, export)
    elif read:
        import_review(spec, read, by)


models_app = typer.Typer(name="models", help="Registered versions: who serves, and who should.", no_args_is_help=True)
app.add_typer(models_app)
Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="The registered model; needless if there is one only.")
]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the version.", show_default=False)]


@models_app.command("list", epilog="Example: posttrain models list voice-assistant")
@guarded
def models_list(name: Name = None) -> None:
    """Show every version with its aliases, its verdict, its scores, and who decided what, and when."""
    from flows.models_command import show_versions

    show_versions(name)


@models_app.command("compare", epilog="Example: posttrain models compare voice-assistant previous champion")
@guarded
def models_compare(
    words: Annotated[
        list[str], typer.Argument(metavar="[NAME] A B", help="Two versions or aliases.", show_default=False)
    ],
) -> None:
    """Show two versions' metrics side by side, with what B gains over A on the rows that both answered."""
    from flows.models_command import show_comparison

    show_comparison(words)


@models_app.command("promote", epilog='Example: posttrain models promote voice-assistant 3 --reason "new slots"')
@guarded
def models_promote(
    words: Annotated[
        list[str], typer.Argument(metavar="[NAME] VERSION", help="A version or an alias.", show_default=False)
    ],
    by: By = None,
    reason: Reason = "",
) -> None:
    """Make a version champion, whatever its gates said; noted with the version."""
    from flows.models_command import promote

    promote(words, by, reason)


@models_app.command("rollback", epilog='Example: posttrain models rollback voice-assistant --reason "slow answers"')
@guarded
def models_rollback(name: Name = None, by: By = None, reason: Reason = "") -> None:
    """Let champion and previous change places; noted with both versions."""
    from flows.models_command import roll_back

    roll_back(name, by, reason)


@app.command(epilog="Example: posttrain mine pipelines/voice_assistant.yaml")
@guarded
def mine(spec: Spec) -> None:
    """Look through what the champion served since the last time, and send bad cases to review.

    Bad: disliked, corrected by its user, unreadable, cut off, unsure, harmful. Nothing new: it ends in seconds.
    """
    from flows.mine_command import mine_spec

    mine_spec(spec)


@app.command(epilog="Example: posttrain review pipelines/voice_assistant.yaml --annotator ann --annotator bo")
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
    from flows.review_command import serve_page

    serve_page(spec, annotator or [], pairs, port, host, url)


feedback_app = typer.Typer(name="feedback", help="What people said, to and from other tools.", no_args_is_help=True)
app.add_typer(feedback_app)
Tool = Annotated[str, typer.Option(metavar="TOOL", help="argilla or label-studio.", show_default=False)]


@feedback_app.command("export", epilog="Example: posttrain feedback export SPEC items.json --to label-studio")
@guarded
def feedback_export(
    spec: Spec,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new JSON file.", show_default=False)],
    to: Tool,
) -> None:
    """Write items and answers as records of Argilla or tasks of Label Studio."""
    from flows.feedback_command import export_feedback

    export_feedback(spec, file, to)


@feedback_app.command("import", epilog="Example: posttrain feedback import SPEC answered.json --from label-studio")
@guarded
def feedback_import(
    spec: Spec,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the tool exported.", show_default=False)],
    from_: Annotated[str, typer.Option("--from", metavar="TOOL", help="argilla or label-studio.", show_default=False)],
) -> None:
    """Read items and answers that Argilla or Label Studio exported; what is there already is not read twice."""
    from flows.feedback_command import import_feedback

    import_feedback(spec, file, from_)


def main() -> None:
    """The entry point of the `posttrain` command."""
    app()


if __name__ == "__main__":
    main()
