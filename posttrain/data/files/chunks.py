"""Chunks: some rows of one file, cut off cheaply while reading, and taken apart wherever there is a processor free.

A chunk holds bytes or Arrow memory and pickles; `parse` is pure. A row that cannot be taken apart keeps its place,
with what is wrong and its raw text. Knows nothing of prompts and completions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from posttrain.data.files import rows as json_rows


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row: the rule that it breaks ("encoding" or "schema"), in words, and its raw text."""

    rule: str
    words: str
    raw: str = ""


@dataclass(frozen=True)
class Parsed:
    """Rows as dictionaries of columns, in file order.

    `numbers` are lines, counted from 1 (in JSON arrays, Parquet and Arrow: rows). `faults` are by position in `rows`;
    a row that could not be taken apart at all is empty. `raw` gives a row's text as it stands in the file.
    """

    numbers: Sequence[int]
    rows: list[dict[str, Any]]
    faults: dict[int, Fault]
    raw: Callable[[int], str]


class Chunk(Protocol):
    """Some rows of one file."""

    def parse(self) -> Parsed:
        """Take the rows apart."""

    def __len__(self) -> int:
        """How many rows there are, told without taking them apart."""


@dataclass(frozen=True)
class Lines:
    """Whole lines of JSON Lines, undecoded; the first of them has number `first`. `too_long` lines were left out."""

    first: int
    data: bytes
    codec: str
    too_long: tuple[tuple[int, str, str], ...] = ()

    def __len__(self) -> int:
        return sum(not line.isspace() for line in self.data.split(b"\n") if line) + len(self.too_long)

    def parse(self) -> Parsed:
        """Blank lines are no rows."""
        lines = self.data.split(b"\n")
        rows, wrong = json_rows.parse(lines, self.data, self.codec)
        places = [place for place, line in enumerate(lines) if line and (rows[place] or not line.isspace())]
        numbers = [self.first + place for place in places]
        faults = {at: Fault(*wrong[place]) for at, place in enumerate(places) if place in wrong} if wrong else {}
        kept = [rows[place] for place in places]
        texts = [lines[place] for place in places]
        for number, words, head in self.too_long:
            faults[len(kept)] = Fault("schema", words, head)
            numbers.append(number)
            kept.append({})
            texts.append(head.encode())
        return Parsed(numbers, kept, faults, lambda at: texts[at].decode(self.codec, "replace").strip())


@dataclass(frozen=True)
class Items:
    """Objects of a JSON array, each as its bytes."""

    first: int
    items: tuple[bytes, ...]
    codec: str

    def __len__(self) -> int:
        return len(self.items)

    def parse(self) -> Parsed:
        """An item that is no JSON is a fault."""
        rows, wrong = json_rows.parse(self.items, b"\n".join(self.items), self.codec)
        faults = {at: Fault(*found) for at, found in wrong.items()}
        numbers = range(self.first, self.first + len(rows))
        return Parsed(numbers, rows, faults, lambda at: self.items[at].decode(self.codec, "replace"))


@dataclass(frozen=True)
class Cells:
    """Records of a delimited file: the header, and for each record its line and its cells."""

    header: tuple[str, ...]
    numbers: tuple[int, ...]
    records: tuple[tuple[str, ...], ...]
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def parse(self) -> Parsed:
        """A record with more or fewer cells than the header is a fault."""
        width = len(self.header)
        rows = [dict(zip(self.header, record, strict=False)) for record in self.records]
        faults = {
            at: Fault(
                "schema",
                f'found {len(record)} columns, expected {width}; put fields that hold commas in "quotes"',
                _json(record),
            )
            for at, record in enumerate(self.records)
            if len(record) != width
        }
        faults |= {at: Fault("encoding", words, _json(rows[at])) for at, words in self.problems.items()}
        return Parsed(self.numbers, rows, faults, lambda at: _json(rows[at]))


@dataclass(frozen=True)
class Batch:
    """Rows of a Parquet or Arrow file, or of a data set of the hub."""

    first: int
    batch: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def parse(self) -> Parsed:
        """Values as Python has them."""
        try:
            rows = self.batch.to_pylist()
        except UnicodeDecodeError:  # Arrow takes a text's word for being UTF-8
            rows = _as_bytes(self.batch).to_pylist()
        return Parsed(range(self.first, self.first + len(rows)), rows, {}, lambda at: _json(rows[at]))

    def __reduce__(self) -> tuple[Any, ...]:
        # A slice of a batch pickles with all of its parent's memory; as an Arrow stream it takes only its own.
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.batch.schema) as writer:
            writer.write_batch(self.batch)
        return _batch, (self.first, sink.getvalue().to_pybytes())


def _as_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    plain = [
        array.cast(pa.large_binary())
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
        else array
        for array in batch.columns
    ]
    return pa.RecordBatch.from_arrays(plain, names=batch.schema.names)


def _batch(first: int, data: bytes) -> Batch:
    with pa.ipc.open_stream(data) as reader:
        return Batch(first, reader.read_next_batch())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
