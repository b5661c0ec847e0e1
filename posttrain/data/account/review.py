"""The review queue: rows about which only people can decide, out to a file, and their verdicts back in.

The queue is what curation sent to review, the sample of the synthetic rows among it (rule "spot_check", S3: 30 %).
Knows no terminal, and writes no verdict itself.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from posttrain.artifacts import write_atomic
from posttrain.data.account.outputs import DataStages, set_aside
from posttrain.data.account.row_verdict import EVERY, TEXTS, RowVerdict, content, edit
from posttrain.data.account.verdicts import Verdicts
from posttrain.errors import DataError

REASON = ("id", "source", "rule", "value", "threshold", "twin")
ASKED = ("verdict", "note", "edited")
"""Columns for people to fill in: keep, drop or edit; why; the new answer."""
WORDS = ("keep", "drop", "edit", "restore")
FORMULA = r"^([=+\-@\t\r])"
"""A cell that begins so is a formula to a spreadsheet, and rows come from anywhere."""
DIGEST = "sha256:"
"""Before a content in the file: sixteen digits alone may look like a number to a spreadsheet, which would round it."""


@dataclass(frozen=True)
class Verdict:
    """What a person wrote in one row of a review file, before it is known what it is about."""

    where: str
    id: str
    source: str
    content: str
    rule: str
    verdict: str
    note: str
    edited: str


@dataclass(frozen=True)
class Reviewed:
    """What an import found: the words to add, rows left open, and rows whose text has changed since the export."""

    words: tuple[RowVerdict, ...]
    open: int
    stale: tuple[str, ...]


def queue(stages: DataStages, verdicts: Verdicts) -> pl.DataFrame:
    """The rows that wait for a word and have none yet: `REASON`, `content`, the texts, and `ASKED`, empty."""
    waiting = set_aside(stages, verdict="review")
    rows = waiting.filter(~_settled(waiting, verdicts))
    texts = [name for name in ("system", *TEXTS) if name in rows.columns and rows[name].ne("").any()]
    digests = pl.Series("content", [DIGEST + content(row) for row in rows.to_dicts()], dtype=pl.String)
    empty = [pl.lit("").alias(name) for name in ASKED]
    return rows.with_columns(digests, *empty).select(*REASON, "content", *texts, *ASKED)


def _settled(rows: pl.DataFrame, verdicts: Verdicts) -> pl.Series:
    """One flag a row: whether somebody has judged it under the rule that sent it to review."""
    flags = pl.Series("settled", [False] * rows.height, dtype=pl.Boolean)
    for rule in rows["rule"].unique():
        flags |= (rows["rule"] == rule) & verdicts.settled(rows, rule)
    return flags


# --- files ---------------------------------------------------------------------------------------------------


def write(rows: pl.DataFrame, path: Path) -> None:
    """Write the queue as .csv (for spreadsheets: UTF-8 with its mark, formulas disarmed) or .jsonl."""
    if _kind(path) == "csv":
        text = "\ufeff" + rows.with_columns(pl.col(pl.String).str.replace(FORMULA, "'${1}")).write_csv()
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.iter_rows(named=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)


def _kind(path: Path) -> str:
    if path.suffix.lower() in (".csv", ".jsonl"):
        return path.suffix.lower().removeprefix(".")
    raise DataError(f"{path}: found {path.suffix or 'no ending'}, expected .csv or .jsonl; name the file so")


def read(path: Path) -> list[Verdict]:
    """What people wrote; rows without a verdict have "". Raises `DataError` naming the row of the first mistake."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `posttrain rows review SPEC --export {path.name}` writes it") from None
    except UnicodeDecodeError:
        raise DataError(f'{path}: not UTF-8; save it from the spreadsheet as "CSV UTF-8"') from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    rows = _from_csv(path, text) if _kind(path) == "csv" else _from_jsonl(path, text)
    return [_checked(where, row) for where, row in rows]


def _from_csv(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)  # spreadsheets of some countries write semicolons
    try:
        data = io.BytesIO(text.encode())
        frame = pl.read_csv(data, infer_schema=False, separator=separator)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: not a table ({str(error).splitlines()[0]}); save it again as CSV") from None
    if missing := {"id", "verdict"} - set(frame.columns):
        raise DataError(f"{path}:1: no column {' and '.join(sorted(missing))}, expected those of the export")
    for number, row in enumerate(frame.fill_null("").iter_rows(named=True), 2):
        yield f"{path}: row {number}", row


def _from_jsonl(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number} is no JSON object; mend or remove the line")
        yield f"{path}: row {number}", {name: value for name, value in row.items() if isinstance(value, str)}


def _checked(where: str, row: dict[str, str]) -> Verdict:
    cells = {name: row.get(name, "").strip() for name in ("id", "source", "content", "rule", *ASKED)}
    cells["content"] = cells["content"].removeprefix(DIGEST)
    word, found = cells["verdict"].lower(), cells["verdict"]
    if word not in ("", *WORDS):
        raise DataError(f"{where}: verdict is {found!r}, expected keep, drop or edit, or nothing; mend the cell")
    if not cells["id"]:
        raise DataError(f"{where}: no id; leave the column id as it was exported")
    if word == "edit" and not cells["edited"]:
        raise DataError(f"{where}: verdict is edit, but edited is empty; write the new answer there, or drop the row")
    if word != "edit" and cells["edited"]:
        raise DataError(f"{where}: edited is filled in, but verdict is {word or 'empty'}; set verdict to edit")
    return Verdict(where, **{**cells, "verdict": word})


# --- verdicts ------------------------------------------------------------------------------------------------


def judged(said: Sequence[Verdict], stages: DataStages, known: Sequence[RowVerdict], by: str, at: str) -> Reviewed:
    """The words that a review file says, about the rows as they are now.

    A row that has changed since it was exported is not judged: its reviewer saw another text. One that changed
    because this very word was carried out is no news, and stale neither.
    """
    spoken = [each for each in said if each.verdict]
    present = _present(spoken, stages)
    old = {(word.id, word.rule, word.verdict, word.content) for word in known}
    words, stale = [], []
    for each in spoken:
        # Spreadsheets take an id such as 12345678e9012345 for a number; the place in the file stands in for it.
        row = present.get(each.id) or present.get(each.source)
        seen = each.content or (content(row) if row else "")
        rule = each.rule or EVERY
        if row is None or (seen != content(row) and (row["id"], rule, each.verdict, seen) not in old):
            stale.append(each.where)
        else:
            words.append(_word(each, row, seen, rule, by, at))
    return Reviewed(tuple(words), len(said) - len(spoken), tuple(stale))


def _word(said: Verdict, row: dict[str, str], seen: str, rule: str, by: str, at: str) -> RowVerdict:
    texts = {"chosen" if row.get("chosen") else "completion": said.edited} if said.verdict == "edit" else {}
    becomes = content(edit(row, texts)) if texts else ""
    return RowVerdict.model_validate(
        {"id": row["id"], "content": seen, "rule": rule, "verdict": said.verdict, "by": by, "at": at, "note": said.note}
        | {"texts": texts, "becomes": becomes}
    )


def _present(said: Sequence[Verdict], stages: DataStages) -> dict[str, dict[str, str]]:
    """The rows meant, as the last stage that holds them has them, by id and by source."""
    found: dict[str, dict[str, str]] = {}
    fits = pl.col("id").is_in([each.id for each in said]) | pl.col("source").is_in(
        [each.source for each in said if each.source]
    )
    for _, path in stages.tables() if said else ():
        for row in pl.scan_parquet(path).filter(fits).collect(engine="streaming").iter_rows(named=True):
            found[row["id"]] = found[row["source"]] = row
    return found
