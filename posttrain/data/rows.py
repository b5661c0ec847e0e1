"""A row: the one shape of data between stages.

Knows nothing of files or rules.
"""

from __future__ import annotations

Row = dict[str, str]

COLUMNS = ("id", "source", "system", "prompt", "completion")
"""Every row's columns. `source` is "file:line"; `system` is the system message, or empty. Curation adds `group`."""


def shorten(text: str, limit: int = 100) -> str:
    """One line of at most `limit` characters, for messages and examples."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
