"""A first look at data files, before anything is written: are they there, readable, and of a known shape?

Reads the head of each file only, so it takes milliseconds. Knows nothing of rules that need all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posttrain.data import labels
from posttrain.data.files import read
from posttrain.data.load import file_of, shape_of, to_row
from posttrain.data.rows import Row, shorten
from posttrain.errors import DataError
from posttrain.spec.sections.data import DataSpec, Source
from posttrain.spec.sections.task import TaskSpec

HEAD = 256 * 1024
SPLITS = ("train", "test", "general", "general_held_out")
LABELLED = ("train", "test")


@dataclass(frozen=True)
class SourceSummary:
    """What a first look saw: the format, the row count (None when only a part was read), columns, the first row."""

    path: str
    format: str
    rows: int | None
    columns: tuple[str, ...]
    example: Row


def look(source: Source, root: Path, task: TaskSpec | None = None, where: str = "data.train[0]") -> SourceSummary:
    """Look at one file. Raises `DataError` as loading it would, as far as its head (256 KiB) can tell.

    With a task, at least one of the first rows must be a label of its kind.
    """
    file = file_of(source, root, where)
    records, whole = read(file, HEAD)
    format, names = shape_of(records, source, file)
    rows = [row for row, problem in (to_row(record, file, format, names) for record in records) if not problem]
    if task and rows and task.kind in labels.JSON_KINDS:
        _check_labels(rows, task.kind)
    columns = tuple(dict.fromkeys(name for record in records[:100] for name in record.columns))
    example = rows[0] if rows else to_row(records[0], file, format, names)[0]
    return SourceSummary(source.path, format, len(records) if whole else None, columns, example)


def _check_labels(rows: list[Row], kind: str) -> None:
    problems = [labels.problem(row["completion"], kind) for row in rows]
    if all(problems):
        raise DataError(
            f"{rows[0]['source']}: completion {shorten(rows[0]['completion'], 60)!r} is {problems[0]}, and so are "
            f"all {len(rows)} rows looked at, expected {kind} labels; set task.kind: text or choose another column"
        )


def preflight(data: DataSpec, task: TaskSpec, root: Path) -> list[SourceSummary]:
    """Look at every file of the spec, in the order train, test, general, general_held_out. Raises `DataError`."""
    return [
        look(source, root, task if split in LABELLED else None, f"data.{split}[{index}]")
        for split in SPLITS
        for index, source in enumerate(getattr(data, split))
    ]
