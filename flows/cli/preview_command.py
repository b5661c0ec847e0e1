"""`posttrain preview`: one row as training sees it, before anything is trained. Writes nothing, loads no model."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console
from rich.text import Text

from flows.cli.display import make_console
from flows.cli.row_story import safe
from flows.operations.quiet import settle_environment
from posttrain import preflight
from posttrain.errors import SpecError

if TYPE_CHECKING:
    from posttrain.preview import Preview, Taught

TRAINED, READ = "bold green", "dim"
OPENS, CLOSES, BETWEEN = "⟦", "⟧", "|"
"""What marks tokens without colours; rare enough in rows, and said in the legend."""


def show_preview(path: Path, stage: str, number: int, key: str | None) -> None:
    """Print one row of the spec at `path` as its `stage` is taught it. Raises: UserError."""
    settle_environment()
    checked = preflight.check(path)
    from flows.cli.plan_walk import curated
    from posttrain import preview
    from posttrain.models.load import load_tokenizer

    stages = get_args(preview.Stage)
    wanted = next((each for each in stages if each == stage), None)
    if wanted is None:
        raise SpecError(f"posttrain preview: found --stage {stage}, expected one of {', '.join(stages)}")
    spec, rows = checked.loaded.spec, curated(checked)
    row = preview.chosen_row(spec, checked.loaded.root, rows, wanted, number, key)
    longest = spec.sft.max_length if wanted == "sft" else spec.align.max_length
    turns, tokenizer = spec.sft.assistant_turns, load_tokenizer(checked.base)
    adapted = None if spec.sft.method == "full" else Path(checked.base.base)
    show(make_console(), preview.preview(row, wanted, tokenizer, longest, rows is not None, turns, adapted))


def show(console: Console, found: Preview) -> None:
    """The row, the facts about its ends, its tokens, and what to mind."""
    stands = "as curation chose it" if found.curated else "as it stands in the file; curation has not run yet"
    console.print(Text.assemble(("row ", "dim"), (found.row, "bold"), f" from {safe(found.source)}, {stands}"))
    width = max(map(len, found.facts))
    for name, value in found.facts.items():
        console.print(Text.assemble((f"{name:<{width}}  ", "dim"), safe(value)))
    legend = Text.assemble(
        (f"{OPENS}taught: the loss counts it{CLOSES}", TRAINED),
        "  ",
        ("read only", READ),
        f"  {BETWEEN} between tokens",
    )
    console.print(legend)
    for taught in found.taught:
        console.print()
        console.print(Text(_count(taught), style="bold"))
        console.print(tokens(taught), soft_wrap=True)
    for note in found.notes:
        console.print(Text(f"warning: {safe(note)}", style="yellow"))


def _count(taught: Taught) -> str:
    every = len(taught.tokens)
    return f"{taught.name}: {every:,} tokens, {taught.trained:,} taught, {every - taught.trained:,} read only"


def tokens(taught: Taught) -> Text:
    """The tokens in order, those that the loss counts in brackets and coloured; a line end is shown, and made."""
    line = Text()
    for trained, run in groupby(taught.tokens, key=lambda token: token.trained):
        text = BETWEEN.join(safe(token.text).replace("\n", "⏎\n") for token in run)
        line.append(f"{OPENS}{text}{CLOSES}" if trained else text, style=TRAINED if trained else READ)
    return line
