"""Every row of the final model: what was asked, answered and read in it, and what it scored.

Reads the outputs that measuring left behind; knows nothing of models or HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from posttrain.evaluation.scores import Scores
from posttrain.report.content import ListedRow, Listing
from posttrain.report.outputs import by_id

MOST = 1_000
"""Rows of a list; a page of more is no page. All of them are in MLflow's tables and in `outputs.parquet`."""

_TEXTS = ("id", "prompt", "expected", "output", "parsed")


def listings(label: str, scores: Scores) -> tuple[Listing, ...]:
    """The rows of the split, then those of each slice that asks anything else; none whose outputs are gone."""
    whole = _rows(scores)
    made = [_listing(f"{label}, {scores.split}", scores, whole)]
    for name, part in scores.slices.items():
        rows = _rows(part)
        if any(whole.get(key, {}).get("prompt") != row["prompt"] for key, row in rows.items()):
            made.append(_listing(f"{label}, {name}", part, rows))
    return tuple(each for each in made if each.rows)


def _rows(scores: Scores) -> dict[str, dict[str, Any]]:
    try:
        return by_id(scores)
    except OSError:  # the workspace was cleaned
        return {}


def _listing(title: str, scores: Scores, rows: Mapping[str, Mapping[str, Any]]) -> Listing:
    shown = [
        ListedRow(
            prompt=row["prompt"],
            expected=row["expected"],
            output=row["output"],
            parsed=row.get("parsed"),
            values=dict(_values(scores, row)),
        )
        for row in list(rows.values())[:MOST]
    ]
    return Listing(title=title, rows=tuple(shown), all_rows=len(rows))


def _values(scores: Scores, row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The row's value of each metric; where a row has none of its own, what was counted in it."""
    own = [name for name in scores.metrics if isinstance(row.get(name), float)]
    counted = [name for name, value in row.items() if name not in _TEXTS and isinstance(value, float) and value]
    yield from ((name, row[name]) for name in own or counted)
