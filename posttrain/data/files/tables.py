"""Parquet and Arrow files to chunks of rows: only the columns asked for, a few megabytes at a time.

Knows nothing of what columns mean.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from posttrain.data.files.chunks import Batch
from posttrain.data.files.place import File
from posttrain.data.files.unpack import Unpacked
from posttrain.errors import DataError

MAGIC = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"\xff\xff\xff\xff": "Arrow stream"}
MOST_ROWS = 10_000


def kind_of(head: bytes) -> str:
    """Parquet, Arrow or Arrow stream, by a file's first bytes; "" when it is none of them."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")


def chunks(kind: str, stream: Unpacked, file: File, size: int, columns: Sequence[str] | None) -> Iterator[Batch]:
    """Chunks of about `size` bytes; only `columns`, if given. Raises `DataError` for a file that is broken."""
    first = 1
    try:
        with _opened(kind, stream, file) as (source, release):
            read = _parquet if kind == "Parquet" else _arrow
            for batch in read(source, size, columns, kind):
                yield Batch(first, batch)
                first += batch.num_rows
                release()
    except (pa.ArrowException, OSError) as error:
        words = " ".join(str(error).split())[:200]
        after = f" after {first - 1:,} whole rows" if first > 1 else ""
        raise DataError(
            f"{file.shown}: cannot be read as {kind} ({words}){after}, expected a whole file; write or fetch it again"
        ) from error


def row_count(kind: str, stream: Unpacked, file: File) -> int | None:
    """Rows, if the file tells without being read."""
    if kind != "Parquet" or stream.packing:
        return None
    with _opened(kind, stream, file) as (source, _):
        return int(pq.ParquetFile(source).metadata.num_rows)


@contextmanager
def _opened(kind: str, stream: Unpacked, file: File) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Something that pyarrow reads, and what to call when rows read so far are done with.

    That is the file here, the address, or a packed file unpacked to disk.
    """
    if kind == "Arrow stream":
        yield pa.PythonFile(_Readable(stream), mode="r"), _nothing
    elif stream.packing:
        with tempfile.TemporaryFile(prefix="posttrain-") as unpacked:
            while piece := stream.read(1024**2):
                unpacked.write(piece)
            unpacked.seek(0)
            yield pa.PythonFile(unpacked, mode="r"), _nothing
    elif not isinstance(file.location, Path):
        with file.open(seekable=True) as remote:
            yield pa.PythonFile(remote, mode="r"), _nothing
    elif kind == "Arrow":
        # Mapped, for a file may be one single batch; its pages are handed back as soon as they are done with.
        with file.location.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        yield pa.BufferReader(pa.py_buffer(mapped)), lambda: mapped.madvise(mmap.MADV_DONTNEED)
    else:
        with pa.OSFile(str(file.location)) as local:
            yield local, _nothing


def _nothing() -> None:
    pass


class _Readable:
    """An unpacked stream as a Python file."""

    def __init__(self, stream: Unpacked) -> None:
        self._stream = stream
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def close(self) -> None:
        self.closed = True


def _parquet(source: Any, size: int, columns: Sequence[str] | None, _: str) -> Iterator[pa.RecordBatch]:
    # Buffered: a row group may be larger than memory.
    with pq.ParquetFile(source, buffer_size=1024**2, pre_buffer=False) as file:
        described = file.metadata
        stored = sum(described.row_group(at).total_byte_size for at in range(described.num_row_groups))
        each = max(1, stored // max(1, described.num_rows))
        wanted = _present(file.schema_arrow.names, columns)
        yield from file.iter_batches(max(1, min(MOST_ROWS, size // each)), columns=wanted, use_threads=False)


def _arrow(source: Any, size: int, columns: Sequence[str] | None, kind: str) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_file(source) if kind == "Arrow" else pa.ipc.open_stream(source) as reader:
        batches = (reader.get_batch(at) for at in range(reader.num_record_batches)) if kind == "Arrow" else iter(reader)
        wanted = _present(reader.schema.names, columns)
        for batch in batches:
            batch = batch if wanted is None else batch.select(wanted)
            each = max(1, batch.nbytes // max(1, batch.num_rows))
            rows = max(1, min(MOST_ROWS, size // each))
            yield from (batch.slice(at, rows) for at in range(0, batch.num_rows, rows))


def _present(names: Sequence[str], columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else [name for name in names if name in set(columns)]
