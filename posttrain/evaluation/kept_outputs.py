"""Outputs that were generated before: the same model, asked the same way, is not asked twice.

One SQLite file in the workspace. An output's name is made from all that decides it: the model's weights, the whole
conversation, the decoding settings and the versions of the libraries that generate. A changed metric, another slice or
a killed run then cost no generation. Outputs of which it was not kept whether they stopped by themselves count as not
there. Knows nothing of models or scores.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from posttrain.errors import WorkspaceError
from posttrain.evaluation.output import Output

FILE = "outputs.sqlite"
LIBRARIES = ("torch", "transformers", "tokenizers", "peft")


class KeptOutputs:
    """The outputs in a folder's `outputs.sqlite`. A context manager; several processes may share the file.

    `asked` is what every conversation has in common: the model's fingerprint, the engine and the decoding settings.
    `libraries`: those whose version counts beside `LIBRARIES`.
    Raises: `WorkspaceError` when the file cannot be used.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], libraries: Sequence[str] = ()) -> None:
        self.path = folder / FILE
        self._asked = {**asked, **{name: version(name) for name in (*LIBRARIES, *libraries)}}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=60)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost some outputs, no more
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS outputs (key BLOB PRIMARY KEY, output TEXT NOT NULL, stopped INTEGER)"
            )
            self._add_stopped()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def __enter__(self) -> KeptOutputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def key(self, conversation: Sequence[Mapping[str, str]], draw: int = 0) -> bytes:
        """The name of a conversation's output; `draw` numbers its random outputs."""
        asked = [self._asked, list(conversation), *([draw] if draw else [])]
        told = json.dumps(asked, sort_keys=True, ensure_ascii=True)
        return hashlib.blake2b(told.encode(), digest_size=16).digest()

    def find(self, keys: Sequence[bytes]) -> dict[int, Output]:
        """Place among the keys -> output, for those that are there."""
        found: dict[int, Output] = {}
        query = "SELECT output, stopped FROM outputs WHERE key = ? AND stopped IS NOT NULL"
        try:
            for place, key in enumerate(keys):
                if row := self._connection.execute(query, (key,)).fetchone():
                    found[place] = Output(row[0], bool(row[1]))
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return found

    def add(self, keys: Sequence[bytes], outputs: Sequence[Output]) -> None:
        """Keep outputs; they are on disk when this returns."""
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO outputs (key, output, stopped) VALUES (?, ?, ?)",
                    [(key, each.text, each.stopped) for key, each in zip(keys, outputs, strict=True)],
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _add_stopped(self) -> None:
        """A file of an earlier version gets the column; another process may be faster."""
        columns = [row[1] for row in self._connection.execute("PRAGMA table_info(outputs)")]
        if "stopped" not in columns:
            with contextlib.suppress(sqlite3.OperationalError):
                self._connection.execute("ALTER TABLE outputs ADD COLUMN stopped INTEGER")

    def _unusable(self, error: Exception) -> WorkspaceError:
        return WorkspaceError(f"{self.path}: cannot be used ({error}); free the disk, or remove the file")
