"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="The pipeline's YAML file.", show_default=False)]
Pool = Annotated[str, typer.Option(help="The Prefect work pool whose worker runs it.")]
By = Annotated[str | None, typer.Option(help="Who says so; else your user name.", show_default=False)]
