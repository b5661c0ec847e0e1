"""Every answer of a teacher, on disk from the moment it came: a killed run goes on where it stopped.

One SQLite file. Besides answers it notes each call that is begun, so that one whose answer was lost (a kill, a cut
connection) still counts towards the cost: the endpoint may have billed it. API keys never come here.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any

from posttrain.data.synthetic.calls import Answer, Tokens
from posttrain.errors import DataError, WorkspaceError

FILE = "teacher.sqlite"

_TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request TEXT NOT NULL, answer TEXT NOT NULL,"
    " at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TABLE IF NOT EXISTS begun (number INTEGER PRIMARY KEY, key TEXT NOT NULL, input_tokens INTEGER NOT NULL,"
    " output_tokens INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS begun_key ON begun (key)",
)


class Cache:
    """The answers in a folder's `teacher.sqlite`. A context manager; several processes may share the file.

    Raises: `DataError` when the file is there and is no such cache; `WorkspaceError` when it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self._file = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            self._run("PRAGMA journal_mode = WAL")
            self._run("PRAGMA synchronous = NORMAL")  # a note that a call was begun survives a kill, no power cut
            for statement in _TABLES:
                self._run(statement)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._file.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise WorkspaceError(f"{self.path}: cannot be used ({error}); free the disk or the file") from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: is no cache of a teacher's answers ({error}); move it away, and the calls are made again"
            ) from error

    def get(self, key: str) -> Answer | None:
        """The answer of this name, if it came before."""
        found = self._run("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return Answer(**json.loads(found[0])) if found else None

    def lost(self, key: str) -> list[Tokens]:
        """Calls of this name that were begun and never answered, each with the tokens it may have cost."""
        found = self._run("SELECT input_tokens, output_tokens FROM begun WHERE key = ?", (key,))
        return [Tokens(*row) for row in found.fetchall()]

    def begin(self, key: str, most: Tokens) -> int:
        """Note that a call is about to be sent; returns its number."""
        statement = "INSERT INTO begun (key, input_tokens, output_tokens) VALUES (?, ?, ?)"
        return int(self._run(statement, (key, most.input, most.output)).lastrowid or 0)

    def forget(self, number: int) -> None:
        """The call was refused or never arrived: it cost nothing."""
        self._run("DELETE FROM begun WHERE number = ?", (number,))

    def keep(self, key: str, body: dict[str, Any], answer: Answer, number: int | None = None) -> Answer:
        """Write an answer to the disk, in place of the note that its call was begun.

        Returns the answer of this name: the first one that came.
        """
        row = (key, json.dumps(body, ensure_ascii=True), json.dumps(dataclasses.asdict(answer), ensure_ascii=True))
        self._run("PRAGMA synchronous = FULL")  # an answer that was paid for survives a power cut too
        self._run("BEGIN IMMEDIATE")
        try:
            self._run("INSERT OR IGNORE INTO answers (key, request, answer) VALUES (?, ?, ?)", row)
            self._run("DELETE FROM begun WHERE number = ?", (number,))
            self._run("COMMIT")
        except BaseException:
            self._file.rollback()
            raise
        finally:
            self._run("PRAGMA synchronous = NORMAL")
        return self.get(key) or answer
