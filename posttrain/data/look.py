"""A first look at data files, before anything is written: are they there, readable, and of a known shape?

Reads the head of each file only, so it takes milliseconds. Knows nothing of rules that need all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from posttrain.data.files import row_count
from posttrain.data.formats import RowKind
from posttrain.data.formats.rating_lines import by_answer
from posttrain.data.load import Block, parse, refusing_unreadable
from posttrain.data.rows import Row, shorten
from posttrain.data.sources import PLAIN_TEXT, Reading, reading, settings
from posttrain.data.text import labels
from posttrain.errors import DataError
from posttrain.spec.sections.data import DataSpec, Source
from posttrain.spec.sections.task import TaskSpec

SPLITS = ("train", "test", "general", "general_held_out", "preference")
LABELLED = ("train", "test")


@dataclass(frozen=True)
class SourceSummary:
    """What a first look saw: format and kind of row, the row count (None when only a part was read), columns, a row.

    `settings` are the keys of a source in the spec that say the same without looking; `completions` are those of the
    rows looked at (of preference pairs, the better answers).
    """

    path: str
    format: str
    kind: RowKind
    rows: int | None
    columns: tuple[str, ...]
    example: Row
    files: int
    settings: Mapping[str, str | list[str]]
    completions: tuple[str, ...] = ()


def look(
    source: Source,
    root: Path,
    task: TaskSpec | None = None,
    where: str = "data.train[0]",
    plain_text: bool = False,
    count: bool = False,
) -> SourceSummary:
    """Look at one source. Raises `DataError` as loading it would, as far as the head of its first file can tell.

    With a task, at least one of the first rows must be a label of its kind. With `count`, files here are read to their
    end for the number of rows.
    """
    found = reading(source, root, where, plain_text)
    rows = _rows(found)
    sound = rows.filter(pl.col("problem_rule") == "").to_dicts()
    if task and sound and task.kind in labels.JSON_KINDS and "completion" in rows.columns:
        _check_labels(sound, task.kind)
    return SourceSummary(
        path=source.path,
        format=found.shape.format,
        kind=found.shape.kind,
        rows=_count(found, rows.height, count),
        columns=found.present,
        example=(sound or rows.to_dicts())[0],
        files=len(found.origins),
        settings=settings(found),
        completions=tuple(row.get("completion") or row.get("chosen") or "" for row in sound),
    )


def _rows(found: Reading) -> pl.DataFrame:
    block = Block(found.origins[0].shown, found.shape, found.shape.kind, found.head)
    frames = list(refusing_unreadable([parse(block)]))
    return pl.concat(by_answer(frames)) if "annotator" in found.shape.columns else frames[0]


def _count(found: Reading, seen: int, read: bool) -> int | None:
    if found.whole and len(found.origins) == 1:
        return seen
    if "annotator" in found.shape.columns or (len(found.origins) > 1 and not read):
        return None
    counts = [row_count(origin, read) for origin in found.origins]
    return None if None in counts else sum(each for each in counts if each is not None)


def _check_labels(rows: list[Row], kind: str) -> None:
    problems = [labels.problem(row["completion"], kind) for row in rows]
    if all(problems):
        raise DataError(
            f"{rows[0]['source']}: completion {shorten(rows[0]['completion'], 60)!r} is {problems[0]}, and so are "
            f"all {len(rows)} rows looked at, expected {kind} labels; set task.kind: text or choose another column"
        )


def preflight(data: DataSpec, task: TaskSpec, root: Path) -> list[SourceSummary]:
    """Look at every source of the spec, in the order train, test, general, general_held_out. Raises `DataError`."""
    return [
        look(source, root, task if split in LABELLED else None, f"data.{split}[{index}]", split in PLAIN_TEXT)
        for split in SPLITS
        for index, source in enumerate(getattr(data, split))
    ]
