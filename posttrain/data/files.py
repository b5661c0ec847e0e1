"""Files to records: bytes in, one dictionary of columns a row out, each with its line.

Files are read whole, into memory. A single line that does not decode becomes a record with a `problem`, so that
it can be quarantined; a file that is in another encoding as a whole is a `DataError`. Whether a file is gzip and
whether it is JSON Lines or a JSON array is seen from its content. Knows nothing of prompts and completions.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posttrain.errors import DataError

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
MAX_UNDECODABLE = 0.20
"""A larger share of undecodable lines means that the whole file is in another encoding."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before utf-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Record:
    """A row's columns as they stand in the file; `line` counts from 1 (in JSON arrays and Parquet: rows)."""

    line: int
    columns: dict[str, Any]
    problem: str = field(default="")


@dataclass(frozen=True)
class File:
    """A data file: where it is, what messages call it, its encoding, and the spec's key for it ("data.train[0]")."""

    path: Path
    shown: str
    encoding: str
    where: str

    @property
    def suffix(self) -> str:
        """The extension that tells the kind of file, without .gz."""
        name = self.path.name.removesuffix(".gz")
        return Path(name).suffix.lower()


def check(file: File) -> None:
    """Raise `DataError` unless the file exists, is a file of a known kind, and its encoding is known."""
    if file.path.is_dir():
        raise DataError(
            f"{file.shown}: is a folder, expected a file; name one of its files in {file.where} {_listing(file.path)}"
        )
    if not file.path.exists():
        raise DataError(f"{file.shown}: no such file; {_nearest(file.path)}correct {file.where}.path")
    if file.suffix not in SUFFIXES:
        raise DataError(
            f"{file.shown}: file type {file.suffix or 'without extension'} is not known, expected "
            f"{', '.join(SUFFIXES)} (.gz too); convert the file or rename it"
        )
    try:
        codecs.lookup(file.encoding)
    except LookupError as error:
        raise DataError(
            f"{file.where}.encoding: found {file.encoding!r}, expected a name such as utf-8, utf-16 or cp1252"
        ) from error


def read(file: File, limit: int | None = None) -> tuple[list[Record], bool]:
    """All records, or those in the first `limit` bytes, and whether these are all.

    Raises `DataError` for a missing, empty, unreadable or wrongly encoded file and for a line that is not JSON,
    naming file, line, what was found and what to do.
    """
    check(file)
    if file.suffix == ".parquet":
        return _parquet(file, limit)
    raw, whole = _bytes(file, limit)
    if not raw.strip():
        raise DataError(f"{file.shown}: the file is empty, expected at least one row; add rows or correct {file.where}")
    lines = _decoded(file, raw.removeprefix(codecs.BOM_UTF8))
    if not whole:
        lines = lines[:-1]
    records = list(_csv(file, lines) if file.suffix == ".csv" else _json(file, lines, whole))
    if not records:
        raise DataError(f"{file.shown}: has no rows, expected at least one; add rows or correct {file.where}")
    return records, whole


def _bytes(file: File, limit: int | None) -> tuple[bytes, bool]:
    # An array and a quoted CSV field may span lines, so only JSON Lines can be read in part.
    try:
        with file.path.open("rb") as plain:
            packed = plain.peek(2)[:2] == b"\x1f\x8b"
            with gzip.open(plain) if packed else plain as stream:
                raw = stream.read() if limit is None else stream.read(limit)
                if limit is None or len(raw) < limit:
                    return raw, True
                if (
                    file.suffix == ".csv"
                    or raw.lstrip()[:1] == b"["
                    or _guess(raw).startswith("utf-")
                    or b"\n" not in raw
                ):
                    return raw + stream.read(), True
                return raw, False
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file.shown}: broken gzip ({error}), expected a whole file; fetch it again") from error
    except OSError as error:
        raise DataError(f"{file.shown}: cannot be read ({error.strerror}); make the file readable") from error


# --- text ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    problem: str = ""


def _decoded(file: File, raw: bytes) -> list[_Line]:
    """The file's lines; one that does not decode has U+FFFD in place of the wrong bytes, and a problem."""
    codec = codecs.lookup(file.encoding).name
    guess = _guess(raw)
    if guess and not codec.startswith(guess[:6]):
        raise _wrong_encoding(file, 1, f"{guess} text", guess)
    if codec.startswith(("utf-16", "utf-32")):
        try:
            return [_Line(number, text) for number, text in enumerate(raw.decode(codec).split("\n"), 1)]
        except UnicodeDecodeError as error:
            raise _wrong_encoding(file, 1, f"bytes that are not {codec}", "utf-8") from error
    lines = [_line(number, part, codec) for number, part in enumerate(raw.split(b"\n"), 1)]
    wrong = [line for line in lines if line.problem]
    filled = sum(bool(line.text.strip()) for line in lines)
    if len(wrong) > MAX_UNDECODABLE * filled:
        found = f"{wrong[0].problem} ({len(wrong):,} of {filled:,} lines)"
        raise _wrong_encoding(file, wrong[0].number, found, "cp1252" if codec == "utf-8" else "utf-8")
    return lines


def _line(number: int, part: bytes, codec: str) -> _Line:
    try:
        return _Line(number, part.decode(codec))
    except UnicodeDecodeError as error:
        problem = f"byte 0x{part[error.start]:02x} at {error.start + 1} is not {codec}"
        return _Line(number, part.decode(codec, "replace"), problem)


def _guess(raw: bytes) -> str:
    """utf-16 or utf-32 when the bytes can be nothing else; else ""."""
    for bom, name in _BOMS:
        if raw.startswith(bom):
            return name
    head = raw[:2000]
    if head.count(0) > len(head) // 4:
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    return ""


def _wrong_encoding(file: File, line: int, found: str, guess: str) -> DataError:
    return DataError(
        f"{file.shown}:{line}: found {found}, expected text encoded as {file.encoding}; "
        f"set {file.where}.encoding to the file's own (perhaps {guess}) or convert the file to utf-8"
    )


# --- formats of files ----------------------------------------------------------------------------------------


def _json(file: File, lines: list[_Line], whole: bool) -> Iterator[Record]:
    first = next((line.text.lstrip() for line in lines if line.text.strip()), "")
    if first.startswith("[") and whole:
        yield from _array(file, lines)
        return
    for line in lines:
        if not line.text.strip():
            continue
        try:
            value = json.loads(line.text)
        except ValueError as error:
            if line.problem:
                yield Record(line.number, {}, f"{line.problem}: {line.text}")
                continue
            raise _not_json(file, line.number, error) from error
        except RecursionError as error:
            raise DataError(f"{file.shown}:{line.number}: JSON is nested too deeply; flatten the row") from error
        if not isinstance(value, dict):
            raise DataError(
                f"{file.shown}:{line.number}: found JSON {type(value).__name__}, expected an object such as "
                '{"prompt": …, "completion": …}; mend or remove the line'
            )
        yield Record(line.number, value, line.problem)


def _not_json(file: File, line: int, error: ValueError) -> DataError:
    detail = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
    return DataError(
        f"{file.shown}:{line}: invalid JSON ({detail}), expected one JSON object a line or one JSON array of "
        "objects; mend or remove the line"
    )


def _array(file: File, lines: list[_Line]) -> Iterator[Record]:
    try:
        values = json.loads("\n".join(line.text for line in lines))
    except json.JSONDecodeError as error:
        raise _not_json(file, error.lineno, error) from error
    wrong = next((line.problem for line in lines if line.problem), "")
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise DataError(
                f"{file.shown}: item {number} is JSON {type(value).__name__}, expected an object such as "
                '{"prompt": …, "completion": …}; mend or remove it'
            )
        yield Record(number, value, wrong if wrong and "\ufffd" in json.dumps(value, ensure_ascii=False) else "")


def _csv(file: File, lines: list[_Line]) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.DictReader(io.StringIO("\n".join(line.text for line in lines), newline=""), strict=True)
    last = 1
    try:
        for record in reader:
            if None in record:
                raise DataError(
                    f"{file.shown}:{reader.line_num}: found {len(record) - 1 + len(record[None])} columns, expected "
                    f'{len(reader.fieldnames or ())}; put fields that hold commas in "quotes"'
                )
            problem = next((line.problem for line in lines[last : reader.line_num] if line.problem), "")
            yield Record(last + 1, {str(name): value for name, value in record.items()}, problem)
            last = reader.line_num
    except csv.Error as error:
        raise DataError(f"{file.shown}:{last + 1}: not CSV ({error}); mend the line") from error


def _parquet(file: File, limit: int | None) -> tuple[list[Record], bool]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path) as parquet:
            total = parquet.metadata.num_rows
            table = parquet.read() if limit is None else next(parquet.iter_batches(batch_size=100), None)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file.shown}: cannot be read as Parquet ({error}); write the file again") from error
    rows = table.to_pylist() if table is not None else []
    if not rows:
        raise DataError(f"{file.shown}: has no rows, expected at least one; add rows or correct {file.where}")
    return [Record(number, row) for number, row in enumerate(rows, 1)], len(rows) == total


# --- what to try instead -------------------------------------------------------------------------------------


def _data_files(folder: Path) -> list[str]:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:
        return []
    return [name for name in names if Path(name.removesuffix(".gz")).suffix.lower() in SUFFIXES]


def _listing(folder: Path) -> str:
    names = _data_files(folder)
    return f"({', '.join(names[:5])})" if names else "(none of them is a data file)"


def _nearest(path: Path) -> str:
    near = difflib.get_close_matches(path.name, _data_files(path.parent), 1, 0.5)
    return f"did you mean {near[0]}? " if near else ""
