"""Bytes of a file, unpacked while they are read: gzip, Zstandard or plain, seen from the first bytes.

Guards against what unpacks to far more than anybody's data. Knows nothing of lines and rows.
"""

from __future__ import annotations

import gzip
from types import TracebackType
from typing import IO, Any

from posttrain.errors import DataError

MAX_RATIO = 200
"""Unpacked bytes to a packed one, past `FREE`. Rows of text come to 3 to 20; only a bomb to hundreds."""
FREE = 64 * 1024**2
MAX_UNPACKED = 1024**4
"""Bytes: a tebibyte of rows is no data set of ours, but may be an endless address."""
_PIECE = 256 * 1024
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "Zstandard"}


class Unpacked:
    """A readable stream of unpacked bytes. `place` is for messages: where the reader is ("line 12").

    Everything that can be read of a broken file is given out first; then `read` raises `DataError`.
    """

    def __init__(self, packed: IO[bytes], shown: str) -> None:
        self.shown = shown
        self.place = ""
        self._packed = packed
        self._size = 0
        self._ahead = b""
        self._fault = ""
        start = packed.read(4)
        self.packing = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")
        self._source = _source(_Joined(start, packed), self.packing)

    def peek(self, size: int) -> bytes:
        """The next bytes, at most `size`, without taking them."""
        if len(self._ahead) < size:
            self._ahead += self._read(size - len(self._ahead))
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only before the end or a fault, none at the end."""
        if len(self._ahead) >= size:
            taken, self._ahead = self._ahead[:size], self._ahead[size:]
            return taken
        taken, self._ahead = self._ahead, b""
        return taken + self._read(size - len(taken))

    def _read(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size > 0 and not self._fault:
            try:
                piece = self._source(min(size, _PIECE))
            except Exception as error:  # each unpacker and each kind of address has errors of its own
                self._fault = self._broken(error)
                break
            if not piece:
                break
            self._size += len(piece)
            self._fault = self._too_large()
            pieces.append(piece)
            size -= len(piece)
        if not pieces and self._fault:
            read = f" (read so far: {self.place})" if self.place else ""
            raise DataError(f"{self.shown}: {self._fault}{read}")
        return b"".join(pieces)

    def _broken(self, error: Exception) -> str:
        words = " ".join(str(error).split()) or type(error).__name__
        if not self.packing:
            return f"cannot be read ({words}), expected a file that can; try again, or copy it into the project"
        return f"broken {self.packing} ({words}), expected a whole file; fetch it again"

    def _too_large(self) -> str:
        if self._size > MAX_UNPACKED:
            return f"is larger than {MAX_UNPACKED:,} bytes; split it into several files"
        if self.packing and self._size > FREE and self._size > MAX_RATIO * max(1, self._packed.tell()):
            return (
                f"unpacks to more than {MAX_RATIO} times its size, as a zip bomb does; if it is sound, "
                "unpack it yourself and name the unpacked file"
            )
        return ""

    def __enter__(self) -> Unpacked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._packed.close()


class _Joined:
    """Bytes already read, then the rest of their stream."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start = start
        self._rest = rest
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        if self._start:
            taken, self._start = (self._start, b"") if size < 0 else (self._start[:size], self._start[size:])
            return taken
        return self._rest.read(size)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _source(packed: Any, packing: str) -> Any:
    if packing == "gzip":
        return gzip.GzipFile(fileobj=packed).read1
    if packing == "Zstandard":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd").read
    return packed.read
