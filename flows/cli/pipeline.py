"""The commands that work on a spec and its data, from the first look to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.guard import guarded
from flows.cli.options import Spec

commands = typer.Typer()


@commands.command(epilog="Example: posttrain run pipelines/voice_assistant.yaml")
@guarded
def run(spec: Spec) -> None:
    """Run the pipeline: validate, curate, measure, train, gate, register, promote.

    Stages whose inputs, settings and code are unchanged are found rather than run again; a stopped run goes on from
    its newest checkpoint.
    """
    from flows.cli.run_command import run_pipeline

    run_pipeline(spec)


@commands.command(epilog="Example: posttrain plan pipelines/voice_assistant.yaml")
@guarded
def plan(
    spec: Spec,
    devices: Annotated[
        str | None, typer.Option(metavar="COUNTxGB", help="What if it ran on these, such as 4x80, or on cpu?")
    ] = None,
) -> None:
    """Show what would run, with which values and why, what is cached, and the estimated time and memory."""
    from flows.cli.plan_command import show_plan

    show_plan(spec, devices)


@commands.command(epilog="Example: posttrain preview pipelines/voice_assistant.yaml --row 3")
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
    from flows.cli.preview_command import show_preview

    show_preview(spec, stage, row, id)


@commands.command(epilog="Example: posttrain advise pipelines/voice_assistant.yaml")
@guarded
def advise(spec: Spec) -> None:
    """Measure, decide and explain, but train nothing: which rung is needed, why, what it costs, and why no other.

    Validates, curates and measures the base model as `run` does, which then finds those stages done.
    """
    from flows.cli.advise_command import show_advice

    show_advice(spec)


@commands.command(epilog="Example: posttrain validate pipelines/voice_assistant.yaml")
@guarded
def validate(spec: Spec) -> None:
    """Check the spec and its data only: the table of rules, the quarantined rows and the Data Docs."""
    from flows.cli.validate_command import validate_data

    validate_data(spec)


@commands.command(epilog="Example: posttrain compare tickets@previous tickets@latest --html compare.html")
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
    from flows.cli.compare_command import compare_two

    compare_two(run_a, run_b, html, json)


@commands.command(epilog="Example: posttrain init data/tickets.jsonl --out pipelines/tickets.yaml")
@guarded
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A data file to look at.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where to write the spec; else pipelines/<its name>.yaml.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a spec that is there already.")] = False,
) -> None:
    """Look at a data file and write a commented starter spec for it."""
    from flows.cli.init_command import write_starter

    write_starter(file, out, force)


@commands.command(epilog="Example: posttrain schema > pipeline.schema.json")
@guarded
def schema() -> None:
    """Print the spec's JSON Schema, for editors: every field with its meaning, default and source."""
    import json

    from posttrain.spec import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
