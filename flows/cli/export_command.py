"""`posttrain export`: a registered version as a folder for others: merged, in 8 or 4 bits, or as GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console
from rich.text import Text

from flows.cli.display import make_console
from flows.cli.row_story import safe
from flows.operations.quiet import settle_environment
from posttrain.errors import SpecError

if TYPE_CHECKING:
    from posttrain.exporting import Exported, Measure
    from posttrain.preflight import Checked


def export_model(wanted: str, folder: Path, format: str, spec: Path | None) -> None:
    """Write the version `wanted` (NAME, NAME@alias or NAME@version) into `folder`. Raises: UserError."""
    settle_environment()
    from posttrain import preflight
    from posttrain.exporting import check_possible, export_version
    from posttrain.models.export import Format
    from posttrain.registry import find
    from posttrain.registry.exported import weights_of

    formats = get_args(Format)
    chosen = next((each for each in formats if each == format), None)
    if chosen is None:
        raise SpecError(f"posttrain export: found --format {format}, expected one of {', '.join(formats)}")
    check_possible(folder, chosen, measured=spec is not None)
    checked = preflight.check(spec) if spec else None
    find.open_store(Path())
    weights = weights_of(wanted)
    measure = _measure(checked) if checked else None
    done = export_version(weights, folder, chosen, checked.loaded.spec if checked else None, measure)
    show(make_console(), done)


def _measure(checked: Checked) -> Measure:
    from flows.cli.plan_walk import curated
    from posttrain.exporting import measuring

    rows, spec = curated(checked), checked.loaded.spec
    if rows is None:
        path = checked.loaded.path
        raise SpecError(f"{path}: its test rows are not curated yet, expected those of a run; posttrain run {path}")
    return measuring(spec, checked.loaded.root, rows.test, rows.general_held_out, checked.workspace.root)


def show(console: Console, done: Exported) -> None:
    """What was written, by what it was checked, and what the copy scores beside the version."""
    if done.before and done.after:
        from flows.cli.pair_table import WIDE, explain, pair_table
        from posttrain.registry.comparison import side_by_side

        pairs = side_by_side(done.before, done.after)
        title = f"{safe(done.version)} as {done.format}, against itself"
        console.print(pair_table(title, ["as evaluated", done.format], pairs, console.width >= WIDE))
        explain(console, pairs, done.after.split)
    if done.verdict:
        console.print(Text(f"gates: {safe(done.verdict.summary)}", style="green"))
    by = " and ".join(done.checked) or "nothing: neither a digest nor base and adapter are left"
    console.print(Text(f"{safe(done.version)} is in {done.folder}: {done.format}, {done.bytes / 1e6:,.1f} MB"))
    console.print(Text(f"it is what was evaluated, by {by}" if done.checked else f"checked by {by}", style="dim"))
