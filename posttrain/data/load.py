"""Sources to rows: reads the spec's files and turns every record into a row with its id and place.

A row that cannot be decoded or has not its format's shape is kept, with its problem, for validation to quarantine.
Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posttrain.artifacts import file_digest
from posttrain.data import formats
from posttrain.data.files import File, Record, check, read
from posttrain.data.rows import Row, row_id
from posttrain.errors import DataError
from posttrain.spec.sections.data import Source

_LOOKED_AT = 100


@dataclass(frozen=True)
class Problem:
    """Why a row could not be read as it should: the rule that it breaks and what was found."""

    rule: str
    value: str


@dataclass(frozen=True)
class Loaded:
    """All rows of a split in file order, and the problems of some, by row id."""

    rows: list[Row]
    problems: dict[str, Problem]


def file_of(source: Source, root: Path, where: str) -> File:
    """The file that a source names; relative paths start at `root`. `where` is its key in the spec."""
    return File(root / source.path, source.path, source.encoding, where)


def digests(sources: Sequence[Source], root: Path, split: str) -> list[dict[str, object]]:
    """Each source with the digest of its file's bytes. Raises `DataError` when a file is missing."""
    found: list[dict[str, object]] = []
    for index, source in enumerate(sources):
        file = file_of(source, root, f"data.{split}[{index}]")
        check(file)
        try:
            found.append({**source.model_dump(), "bytes": file_digest(file.path)})
        except OSError as error:
            raise DataError(f"{file.shown}: cannot be read ({error.strerror}); make the file readable") from error
    return found


def load(sources: Sequence[Source], root: Path, split: str) -> Loaded:
    """Every row of a split's files. Raises `DataError` (see `files.read` and `shape_of`)."""
    rows: list[Row] = []
    problems: dict[str, Problem] = {}
    for index, source in enumerate(sources):
        file = file_of(source, root, f"data.{split}[{index}]")
        records, _ = read(file)
        format, names = shape_of(records, source, file)
        for record in records:
            row, problem = to_row(record, file, format, names)
            rows.append(row)
            if problem:
                problems[row["id"]] = problem
    return Loaded(rows, problems)


def shape_of(records: Sequence[Record], source: Source, file: File) -> tuple[str, tuple[str, ...]]:
    """The format of a file and the columns it is read from, seen from its first rows.

    Raises `DataError` for a missing column, naming row, the columns found and the line to write in the spec.
    """
    first = records[:_LOOKED_AT]
    present = list(dict.fromkeys(name for record in first for name in record.columns))
    renamed = source.prompt or source.completion
    format: str = source.format
    if format == "auto":
        format = "prompt_completion" if renamed else formats.detect(present) or "prompt_completion"
    names = formats.columns(format, source.prompt, source.completion)
    missing = [name for name in names if name not in present]
    if missing:
        raise _missing(file, first[0], names, missing, present, source)
    return format, names


def _missing(
    file: File, record: Record, names: tuple[str, ...], missing: list[str], present: list[str], source: Source
) -> DataError:
    free = [name for name in present if name not in names]
    fixes = []
    for name in missing:
        near = formats.suggestion(name, free)
        key = ("prompt", "completion")[names.index(name)]
        fixes.append(f"{file.where}.{key}: {near or '<column>'}")
        free = [other for other in free if other != near]
    shown = "column " if len(missing) == 1 else "columns "
    return DataError(
        f"{file.shown}:{record.line}: found columns {', '.join(present) or 'none'}, expected {shown}"
        f"{' and '.join(missing)} (format {source.format}); set {' and '.join(fixes)}"
    )


def to_row(record: Record, file: File, format: str, names: tuple[str, ...]) -> tuple[Row, Problem | None]:
    """A record as a row, and what is wrong with it, if anything."""
    source = f"{file.shown}:{record.line}"
    head = {"id": row_id(source), "source": source}
    if not record.columns:
        return {**head, "system": "", "prompt": record.problem, "completion": ""}, Problem("encoding", record.problem)
    problem = Problem("encoding", record.problem) if record.problem else None
    try:
        made = formats.convert(record.columns, format, names)
    except formats.ShapeError as error:
        made = formats.Converted("", "")
        problem = problem or Problem("schema", str(error))
    return {**head, "system": made.system, "prompt": made.prompt, "completion": made.completion}, problem
