"""Vectors on disk: a file of them, a row each, and a store from which a second run takes what the first computed.

Knows nothing of how vectors are made, or of what they are of.
"""

from __future__ import annotations

import hashlib
import mmap
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from posttrain.data.embedding.embed import Embedder
from posttrain.data.engine import Engine
from posttrain.errors import WorkspaceError

BATCH = 4096
"""Texts that are embedded at a time: enough that texts of like length go together, some tens of seconds of work."""
BLOCK = 16_384
"""Vectors that are read at a time."""
MAPPED = 32_768
"""Vectors that are read before their pages are given back: each may take a page of four kilobytes of our memory."""


class VectorFile:
    """Vectors of `width` float16 numbers in a file, one after the other: 768 bytes a row of MiniLM's.

    Use as a context manager; the file goes with it.
    """

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width, self.rows, self._read = path, width, 0, 0
        self._file = path.open("w+b")
        self._map: np.memmap | None = None

    def __enter__(self) -> VectorFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._map = None
        self._file.close()
        self.path.unlink(missing_ok=True)

    def append(self, vectors: np.ndarray) -> None:
        """Add vectors, shape (rows, width)."""
        self._file.write(np.ascontiguousarray(vectors, np.float16).tobytes())
        self.rows += len(vectors)
        self._map = None

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, vectors as float32) of consecutive rows."""
        for start in range(0, self.rows, size):
            yield start, self.take(slice(start, start + size))

    def take(self, rows: np.ndarray | slice) -> np.ndarray:
        """These rows as float32, in this order."""
        if not self.rows:
            return np.zeros((0, self.width), np.float32)
        if self._map is None:
            self._file.flush()
            self._map = np.memmap(self.path, np.float16, mode="r", shape=(self.rows, self.width))
        found = self._map[rows].astype(np.float32)
        self._read += len(found)
        if self._read > MAPPED:
            self._map._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
            self._read = 0
        return np.asarray(found)


class VectorStore:
    """Numbers by what makes them (`digest`) and text, in the file `vectors.sqlite` of a folder. A context manager.

    Each text has `width` numbers of a `kind`. Several processes may share the file.
    Raises: `WorkspaceError` when it cannot be used.
    """

    FILE = "vectors.sqlite"

    def __init__(self, folder: Path, digest: str, width: int, kind: type[np.floating] = np.float16) -> None:
        self.digest, self.width, self.kind = digest, width, np.dtype(kind)
        self.path = folder / self.FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=60)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost some vectors, no more
            self._connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise WorkspaceError(f"{self.path}: cannot be used ({error}); free the disk, or remove the file") from error

    def __enter__(self) -> VectorStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def keys(self, texts: Sequence[str]) -> list[bytes]:
        """Sixteen bytes over the embedder's digest and each text."""
        salt = self.digest.encode()[:16]
        return [hashlib.blake2b(text.encode(), digest_size=16, salt=salt).digest() for text in texts]

    def find(self, keys: Sequence[bytes]) -> dict[int, np.ndarray]:
        """Place among the keys -> vector, for those that are there."""
        found: dict[int, np.ndarray] = {}
        for place, key in enumerate(keys):
            row = self._connection.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
            if row and len(row[0]) == self.kind.itemsize * self.width:
                found[place] = np.frombuffer(row[0], self.kind)
        return found

    def add(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep vectors; they are on disk when this returns."""
        rows = [(key, vector.tobytes()) for key, vector in zip(keys, vectors.astype(self.kind), strict=True)]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise WorkspaceError(f"{self.path}: cannot be written ({error}); free the disk") from error


def embedded(
    embedder: Embedder, batches: Iterable[Sequence[str]], engine: Engine, store: VectorStore | None = None
) -> Iterator[np.ndarray]:
    """The vectors of each batch of texts, in order (float16, shape (texts, width)).

    A text that comes twice in a batch, or that the store has, is not embedded again.
    """
    waiting: deque[_Batch] = deque()

    def missing() -> Iterator[list[str]]:
        for texts in batches:
            waiting.append(_Batch(texts, embedder, store))
            yield waiting[-1].missing

    for vectors in engine.map(embedder, missing()):
        yield waiting.popleft().completed(vectors)


class _Batch:
    """A batch of texts: which of them the store has, which are still to be embedded."""

    def __init__(self, texts: Sequence[str], embedder: Embedder, store: VectorStore | None) -> None:
        places: dict[str, int] = {}
        self.place = np.array([places.setdefault(text, len(places)) for text in texts], np.int64)
        self.width, self.store = embedder.width, store
        distinct = list(places)
        # Reading characters is faster than reading the store.
        kept = np.flatnonzero(~embedder.lexical(distinct)).tolist() if store else []
        self.keys = dict(zip(kept, store.keys([distinct[at] for at in kept]), strict=True)) if store else {}
        known = store.find(list(self.keys.values())) if store else {}
        self.known = {kept[at]: vector for at, vector in known.items()}
        self.at = [at for at in range(len(distinct)) if at not in self.known]
        self.missing = [distinct[at] for at in self.at]

    def completed(self, vectors: np.ndarray) -> np.ndarray:
        """The vectors of all texts, given those of the missing ones."""
        found = np.zeros((len(self.known) + len(self.at), self.width), np.float16)
        if self.known:
            found[list(self.known)] = np.stack(list(self.known.values()))
        found[self.at] = vectors
        if self.store:
            fresh = [(self.keys[at], vector) for at, vector in zip(self.at, vectors, strict=True) if at in self.keys]
            if fresh:
                self.store.add([key for key, _ in fresh], np.stack([vector for _, vector in fresh]))
        return np.asarray(found[self.place])
