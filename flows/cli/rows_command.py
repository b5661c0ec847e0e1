"""`posttrain rows`: what became of every row, and people's say in it. Runs nothing: it reads what a run left behind."""

from __future__ import annotations

import difflib
import getpass
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.text import Text

from flows.cli import row_story
from flows.cli.display import make_console
from flows.cli.row_story import STYLES, hint, safe
from posttrain import preflight
from posttrain import spec as specs
from posttrain.data.account import outputs, review, row_verdict
from posttrain.data.account import story as account
from posttrain.data.account.outputs import DataStages
from posttrain.data.account.row_verdict import EVERY, RowVerdict
from posttrain.data.account.verdicts import PERSON, Verdicts
from posttrain.data.rows import shorten
from posttrain.errors import DataError

EXAMPLES = 10
LEAK = "contaminated"
"""The rule that keeps measured rows out of training; whoever overrules it is told what that means."""
FOUND = 60
"""Characters of what was found that a table shows; `rows why` has all."""
THEN = {"drop": "set aside", "review": "review", "warn": "warned"}


@dataclass(frozen=True)
class _Case:
    """A spec, where its rows lie, and what people have said of them."""

    path: Path
    stages: DataStages
    words: list[RowVerdict]
    console: Console

    @property
    def file(self) -> Path:
        """Where the verdicts are kept."""
        return row_verdict.beside(self.path)

    def say(self, text: str, style: str = "") -> None:
        """A sentence."""
        self.console.print(Text(text, style=style))

    def noted(self) -> None:
        """Where a verdict went, and the command that heeds it."""
        hint(self.console, f"noted in {self.file}, which belongs into version control")
        hint(self.console, f"posttrain run {self.path}")


def _case(path: Path) -> _Case:
    loaded = specs.load(path)
    workspace, spec = preflight.workspace_of(loaded), loaded.spec
    stages = outputs.find_stages(workspace, spec.data, spec.validate_, spec.curate)
    if stages is None:
        raise DataError(
            f"{workspace.root}: no finished validation of the rows of {path}, expected one to read from; "
            f"run `posttrain validate {path}` or `posttrain run {path}` first"
        )
    return _Case(path, stages, row_verdict.read(row_verdict.beside(path)), make_console())


def show_why(path: Path, key: str) -> None:
    """Print the story of one row. Raises: UserError."""
    case = _case(path)
    row_story.show(case.console, account.why(key, case.stages, case.words), path)


# --- list ----------------------------------------------------------------------------------------------------


def show_list(path: Path, rule: str | None) -> None:
    """Print the rules with how many rows each found; of one rule, its first rows. Raises: UserError."""
    case = _case(path)
    counted = outputs.counts(case.stages)
    if rule is not None:
        _show_rule(case, rule, counted)
    elif counted.height:
        _show_rules(case, counted)
    else:
        case.say("no rule set a row aside or warned of one")
    if case.stages.curate is None:
        case.say("curation has not run on these rows yet")
        hint(case.console, f"posttrain run {path}")


def _show_rules(case: _Case, counted: pl.DataFrame) -> None:
    for stage, title in (("validate", "Validation"), ("curate", "Curation")):
        table = row_story.table(title)
        table.add_column("rule", overflow="fold", min_width=8)
        table.add_column("split", no_wrap=True)
        table.add_column("rows", justify="right", no_wrap=True)
        table.add_column("then", no_wrap=True)
        table.add_column("for example", overflow="fold", min_width=20)
        for row in counted.filter(pl.col("stage") == stage).iter_rows(named=True):
            first = outputs.set_aside(case.stages, row["rule"], 1, row["verdict"], row["split"])
            then = Text(THEN.get(row["verdict"], row["verdict"]), style=STYLES.get(row["verdict"], ""))
            table.add_row(row["rule"], row["split"], f"{row['rows']:,}", then, Text(_example(first)))
        if table.row_count:
            case.console.print(table)
    hint(case.console, f"posttrain rows list {case.path} --rule RULE")


def _example(first: pl.DataFrame) -> str:
    return safe(f"{_place(first['source'][0])}: {shorten(first['value'][0], FOUND)}") if first.height else ""


def _place(source: str) -> str:
    """The file's name and the line: `rows why` needs no more."""
    return source.rsplit("/", 1)[-1]


def _show_rule(case: _Case, rule: str, counted: pl.DataFrame) -> None:
    _check_rule(rule, counted)
    mine = counted.filter(pl.col("rule") == rule)
    warned = set(mine["verdict"]) == {"warn"}
    rows = outputs.set_aside(case.stages, rule, EXAMPLES, "warn" if warned else None)
    table = row_story.table(f"{rule}: {_count(int(mine['rows'].sum()))}, the first {rows.height}")
    table.add_column("row", no_wrap=True, overflow="ellipsis", max_width=16)
    table.add_column("where", no_wrap=True, overflow="ellipsis", max_width=28)
    table.add_column("found (allowed)", overflow="fold", min_width=14)
    table.add_column("prompt", overflow="fold", min_width=16)
    for row in rows.iter_rows(named=True):
        found = f"{shorten(row['value'], FOUND)} ({row['threshold']})"
        cells = (row["id"], _place(row["source"]), found, shorten(row["prompt"]))
        table.add_row(*(Text(safe(cell)) for cell in cells))
    case.console.print(table)
    hint(case.console, f"posttrain rows why {case.path} ROW")
    if not warned:
        hint(case.console, f"posttrain rows restore {case.path} {rule}")


def _check_rule(rule: str, counted: pl.DataFrame) -> None:
    rules = sorted(set(counted["rule"].to_list()))
    if rule in rules:
        return
    near = difflib.get_close_matches(rule, rules, 1, 0.5)
    hinted = f"did you mean {near[0]}?" if near else f"use one of {', '.join(rules)}" if rules else "no rule found any"
    raise DataError(f"{rule}: no rule that found rows in the last run; {hinted}")


# --- restore -------------------------------------------------------------------------------------------------


def restore(path: Path, what: str, by: str | None, note: str) -> None:
    """Note that a row, or all rows of a rule, shall pass after all. Raises: UserError."""
    case = _case(path)
    counted = outputs.counts(case.stages).filter(pl.col("verdict") != "warn")
    author = by or user()
    if what in set(counted["rule"]):
        rows = int(counted.filter(pl.col("rule") == what)["rows"].sum())
        words = [_word(EVERY, "", what, author, note)]
        about = f"{_count(rows)} set aside by {what}"
        single = rows == 1
    else:
        if not (account.PLACE.match(what) or re.fullmatch("[0-9a-fA-F]+", what)):
            _check_rule(what, counted)
        words = _words_on_row(case, what, author, note)
        about, single = f"row {words[0].id}, set aside by {words[0].rule},", True
    if row_verdict.add(case.file, words):
        case.say(f"{about} {'comes' if single else 'come'} back", "green")
    else:
        case.say(f"{about} {'was' if single else 'were'} restored before", "yellow")
    case.say(f"The next run trains on {'it' if single else 'them'}, unless another rule objects.")
    if words[0].id == EVERY and len(row_verdict.and_looser(what)) > 1:
        looser = " or ".join(row_verdict.and_looser(what)[1:])
        case.say(
            f"Rows that repeat others are found by {looser}, too: restore rows by themselves, or those rules as well."
        )
    if LEAK in {word.rule for word in words}:
        case.say("Beware: what repeats rows on which the model is measured makes its scores too good.", "yellow")
    case.noted()


def _words_on_row(case: _Case, key: str, by: str, note: str) -> list[RowVerdict]:
    row_id = account.resolve(key, case.stages)
    rows = outputs.set_aside(case.stages, row_id=row_id)
    if not rows.height:
        places = ", ".join(account.why(row_id, case.stages).places)
        raise DataError(f"{row_id}: no rule set this row aside, so there is nothing to restore; it is in {places}")
    words = []
    for row in rows.iter_rows(named=True):
        rule = _rule_behind(row["rule"], row_id, case.words)
        held = row_verdict.content(row)
        words += [_word(row_id, held, name, by, note) for name in row_verdict.and_looser(rule)]
    return words


def _rule_behind(rule: str, row_id: str, said: Sequence[RowVerdict]) -> str:
    """A row that a person dropped is to pass the rule about which they were asked, too."""
    dropped = [word.rule for word in said if word.id == row_id and word.sets_aside]
    return dropped[-1] if rule == PERSON and dropped else rule


def _word(row_id: str, content: str, rule: str, by: str, note: str) -> RowVerdict:
    at = row_verdict.now()
    return RowVerdict(id=row_id, content=content, rule=rule, verdict="restore", by=by, at=at, note=note)


def _count(number: int, of: str = "row") -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"


def user() -> str:
    """The name of who runs the command; "" where a container has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""


# --- review --------------------------------------------------------------------------------------------------


def export_review(path: Path, file: Path) -> None:
    """Write the rows that wait for a person. Raises: UserError."""
    case = _case(path)
    rows = review.queue(case.stages, Verdicts.of(case.words))
    review.write(rows, file)
    rules = ", ".join(f"{count:,} {rule}" for rule, count in rows["rule"].value_counts(sort=True).iter_rows())
    case.say(f"{_count(rows.height)} in review without a verdict{f' ({rules})' if rules else ''}, written to {file}")
    if rows.height:
        case.say("Fill in verdict (keep, drop or edit), note, and edited (the new answer); leave open what is unsure.")
        hint(case.console, f"posttrain rows review {path} --import {file}")


def import_review(path: Path, file: Path, by: str | None) -> None:
    """Note the verdicts of a review file. Raises: UserError."""
    case = _case(path)
    reviewed = review.judged(review.read(file), case.stages, case.words, by or user(), row_verdict.now())
    news = row_verdict.add(case.file, reviewed.words)
    counts = {name: sum(word.verdict == name for word in news) for name in review.WORDS}
    parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    case.say(f"{_count(len(news), 'new verdict')}{f' ({parts})' if parts else ''}", "green" if news else "")
    if known := len(reviewed.words) - len(news):
        case.say(f"{known:,} were there already")
    if reviewed.open:
        case.say(f"{_count(reviewed.open)} without a verdict, still in review")
    if reviewed.stale:
        more = f" and {len(reviewed.stale) - 1:,} more" if len(reviewed.stale) > 1 else ""
        case.say(
            f"left out: {reviewed.stale[0]}{more}: the row is gone or its text has changed since the export; "
            "export again to judge it as it is now",
            "yellow",
        )
    if news:
        case.say("The next run heeds them.")
        case.noted()
