"""CSV and TSV to chunks of records, each with the line that it starts on.

A quoted field may span lines, so records are told apart while reading. Knows nothing of what columns mean.
"""

from __future__ import annotations

import bisect
import csv
from collections.abc import Iterator

from posttrain.data.files.chunks import Cells
from posttrain.data.files.encoding import Text, undecodable
from posttrain.data.files.lines import MAX_ROW
from posttrain.data.files.lines import chunks as line_chunks
from posttrain.data.files.place import File
from posttrain.errors import DataError


class _Decoded:
    """The file's lines as text, as the reader asks for them; remembers which did not decode."""

    def __init__(self, text: Text, data: bytes, file: File, size: int) -> None:
        self._chunks = line_chunks(text, data, file, size)
        self._file = file
        self.wrong: dict[int, str] = {}

    def __iter__(self) -> Iterator[str]:
        for chunk in self._chunks:
            for number, words, _ in chunk.too_long:
                raise DataError(f"{self._file.shown}:{number}: {words}")
            lines = chunk.data.split(b"\n")
            if not lines[-1]:
                lines.pop()
            for number, line in enumerate(lines, chunk.first):
                if words := undecodable(line, chunk.codec):
                    self.wrong[number] = words
                yield line.decode(chunk.codec, "replace") + "\n"


def chunks(text: Text, data: bytes, file: File, size: int) -> Iterator[Cells]:
    """Chunks of records of about `size` bytes together; `data` is what was read already.

    The delimiter is a tab in .tsv files, and otherwise what the header shows: comma, semicolon or tab. Raises
    `DataError` for a quote that is never closed and for a header that names a column twice.
    """
    csv.field_size_limit(MAX_ROW)
    lines = _Decoded(text, data, file, size)
    head, _, _ = data.partition(b"\n")
    reader = csv.reader(iter(lines), delimiter=_delimiter(file, head.decode(text.codec, "replace")), strict=True)
    last = 0
    try:
        header = next((tuple(record) for record in reader if record), ())
        _check_header(file, header)
        last = reader.line_num
        numbers: list[int] = []
        records: list[tuple[str, ...]] = []
        held = 0
        for record in reader:
            if record:
                numbers.append(last + 1)
                records.append(tuple(record))
                held += sum(map(len, record)) + 1
            last = reader.line_num
            if held >= size:
                yield _cells(header, numbers, records, lines)
                numbers, records, held = [], [], 0
    except csv.Error as error:
        raise DataError(f"{file.shown}:{last + 1}: not CSV ({error}); mend the line") from error
    if records:
        yield _cells(header, numbers, records, lines)


def _cells(header: tuple[str, ...], numbers: list[int], records: list[tuple[str, ...]], lines: _Decoded) -> Cells:
    """Consumes the remembered lines: each belongs to the last record that starts at or before it."""
    problems: dict[int, str] = {}
    for line in sorted(lines.wrong):
        at = bisect.bisect_right(numbers, line) - 1
        if at >= 0:
            problems.setdefault(at, lines.wrong.pop(line))
    return Cells(header, tuple(numbers), tuple(records), problems)


def _delimiter(file: File, header: str) -> str:
    if file.suffix == ".tsv":
        return "\t"
    return next((each for each in (",", "\t", ";") if each in header), ",")


def _check_header(file: File, header: tuple[str, ...]) -> None:
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise DataError(f"{file.shown}:1: column {twice[0]!r} stands there twice, expected each once; rename one")
