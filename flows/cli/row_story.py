"""How a row's story reads on a terminal. Takes plain data and a rich console; knows nothing of files or stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posttrain.data.account.row_verdict import EVERY
from posttrain.data.account.story import Reason, Story

LONGEST = 1_500
"""Characters of a text that are shown; of a twin's, a third."""
WHERE = {
    "train": "train: it is trained on",
    "validation": "validation: it is measured on along the way",
    "test": "test: it decides the release",
    "valid": "valid: no rule objects; curation has not run yet",
    "general_held_out": "general_held_out: it is measured on, against forgetting",
    "preference": "preference: it is aligned on",
    "quarantine": "quarantine: validation set it aside",
    "dropped": "dropped: curation set it aside",
    "review": "review: it waits for a person's verdict",
    "left out": "left out: nothing is wrong with it, but curation did not draw it (shares, weights or max_rows)",
}
SET_ASIDE = ("quarantine", "dropped", "review")
THEN = {"drop": "set aside", "review": "sent to review", "warn": "warned of"}
STYLES = {"drop": "yellow", "review": "cyan", "warn": "dim"}
MARKS = {"drop": "✗", "review": "?", "warn": "!"}


def show(console: Console, story: Story, spec: Path) -> None:
    """Texts, what each stage did, the twin, what people said, and where the row is now."""
    console.print(Text.assemble(("row ", "dim"), (story.id, "bold"), ("  from ", "dim"), safe(story.source)))
    if story.made:
        console.print(_texts(story.made, LONGEST))
    console.print(_texts(story.texts, LONGEST))
    if story.tidied:
        _heading(console, "as curation tidied it")
        console.print(_texts({name: _tidied(story, name) for name in story.tidied}, LONGEST))
    _heading(console, "what happened")
    console.print(_course(story))
    for reason in story.reasons:
        if reason.twin:
            twin = reason.twin
            _heading(console, f"the twin: {twin.id} from {safe(twin.source)}, now in {', '.join(twin.places)}")
            console.print(_texts(twin.texts, LONGEST // 3))
    if story.words:
        _heading(console, "what people said")
        console.print(_words(story))
    _heading(console, "now")
    for place in story.places:
        console.print(Text(f"  {WHERE.get(place, place)}"))
    if story.restored:
        console.print(Text("  restored: the next run brings it back", style="green"))
    elif set(SET_ASIDE) & set(story.places):
        hint(console, f"  posttrain rows restore {spec} {story.id}")


def hint(console: Console, text: str) -> None:
    """A line in the background, never broken, so that it can be copied."""
    console.print(Text(text, style="dim"), soft_wrap=True)


def table(title: str) -> Table:
    """An empty table as `rows` draws them: no frame, one rule under the header."""
    return Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)


def safe(text: str) -> str:
    """Text of unknown origin: what would steer the terminal or the direction of writing is shown as a sign."""
    return "".join(map(_sign, text))


def _sign(character: str) -> str:
    code = ord(character)
    if character in "\n\t" or 0x20 <= code < 0x7F:
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    steers = code < 0xA0 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or 0xD800 <= code < 0xE000
    return f"\\u{code:04x}" if steers else character


def _tidied(story: Story, name: str) -> str:
    before, after = story.texts.get(name, ""), story.tidied[name]
    return "the same but for white space" if before.split() == after.split() else after


def _heading(console: Console, text: str) -> None:
    console.print(Text(f"\n{text}", style="bold"))


def _course(story: Story) -> Table:
    """A line per stage: how the row passed, or the rule that it broke."""
    lines = [(stage, Text("✓", style="green"), Text(f"passed, into {name}")) for stage, name in story.passed]
    for reason in story.reasons:
        mark = Text(MARKS.get(reason.verdict, "✗"), style=STYLES.get(reason.verdict, ""))
        lines.append((reason.stage, mark, _reason(reason)))
    grid = _grid()
    for line in sorted(lines, key=lambda each: each[0] != "validate"):
        grid.add_row(*line)
    return grid


def _reason(reason: Reason) -> Text:
    text = Text.assemble(
        f"{THEN.get(reason.verdict, reason.verdict)} by ", (reason.rule, "bold"), f": {safe(reason.value)}"
    )
    if reason.threshold:
        text.append(f" (allowed: {safe(reason.threshold)})", style="dim")
    return text


def _words(story: Story) -> Table:
    grid = _grid()
    for word, holds in story.words:
        about = f"every row of {word.rule}" if word.id == EVERY else "this row"
        under = "" if word.id == EVERY or word.rule == EVERY else f" ({word.rule})"
        said = Text.assemble((word.verdict, "bold"), f" {about}{under}, said {safe(word.by) or 'somebody'}")
        said.append(f": {safe(word.note)}" if word.note else "")
        said.append("" if holds else "; no longer holds, for the row's text has changed since", style="yellow")
        grid.add_row(word.at[:10], "", said)
    return grid


def _texts(texts: Mapping[str, str], limit: int) -> Table:
    grid = _grid()
    for name, text in texts.items():
        more = f" … ({len(text):,} characters)" if len(text) > limit else ""
        grid.add_row(name, "", Text(safe(text[:limit]) + more))
    return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, style="dim", min_width=10)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
