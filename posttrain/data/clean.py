"""Curation step: tidy text without changing what it says. Never drops a row, so the test split takes it too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from posttrain.data import labels
from posttrain.data.rows import Row


def clean(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """All rows, tidied; and those, as they were, that the tidying changed.

    Unicode is brought to NFC, line ends to \\n, blanks at the ends go. In rows with a JSON label, runs of blanks
    become one, in the prompt and in the label's values alike, so that a slot value is still found in its prompt.
    """
    kept: list[Row] = []
    changed: list[Row] = []
    for row in rows:
        tidied = _tidied(row)
        kept.append(tidied)
        if tidied != row:
            changed.append(row)
    return kept, changed


def _tidied(row: Row) -> Row:
    if labels.is_json(row["completion"]):
        completion = labels.mapped(row["completion"], _evenly_spaced)
        return {**row, "prompt": _evenly_spaced(row["prompt"]), "completion": completion}
    return {**row, "prompt": _plain(row["prompt"]), "completion": _plain(row["completion"])}


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()


def _evenly_spaced(text: str) -> str:
    """Runs of blanks as one, line by line: lines may carry meaning."""
    return "\n".join(" ".join(line.split()) for line in _plain(text).split("\n"))
