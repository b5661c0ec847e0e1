"""Which rows to show side by side: mistakes that remain, what training won, what it lost, in fixed shares.

Reads the outputs that measuring left behind; knows nothing of models or HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from posttrain.evaluation.scores import Scores
from posttrain.report.content import SideBySide

Shown = TypeVar("Shown")

RIGHT = ("exact_match", "accuracy", "final_answer")
"""Metrics that say of a row whether it is right in full; a task has one of them."""


def side_by_side(measured: Mapping[str, Scores], rows: int = 12) -> tuple[SideBySide, ...]:
    """Up to `rows` prompts that every model in `measured` (label → scores, earliest first) answered.

    Half are mistakes of the last model, so that the page shows what is still wrong; then rows where models differ,
    then rows that all got right. The same scores give the same rows.
    """
    tables = {label: by_id(scores) for label, scores in measured.items()}
    if not tables:
        return ()
    *_, last = tables.values()
    shared = [_side(row_id, tables) for row_id in last if all(row_id in table for table in tables.values())]
    final = list(tables)[-1]
    wrong = [row for row in shared if not row.right[final]]
    differing = [row for row in shared if row.right[final] and not all(row.right.values())]
    agreed = [row for row in shared if all(row.right.values())]
    chosen = spread(wrong, rows // 2)
    chosen += spread(differing, max(0, rows - len(chosen) - min(len(agreed), rows // 6)))
    chosen += spread(agreed, rows - len(chosen))
    return tuple(chosen)


def spread(rows: Sequence[Shown], count: int) -> list[Shown]:
    """`count` rows at even distances."""
    if len(rows) <= count:
        return list(rows)
    return [rows[place * len(rows) // count] for place in range(count)]


def _side(row_id: str, tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> SideBySide:
    found = {label: table[row_id] for label, table in tables.items()}
    first = next(iter(found.values()))
    return SideBySide(
        prompt=first["prompt"],
        expected=first["expected"],
        outputs={label: row["output"] for label, row in found.items()},
        right={label: _is_right(row) for label, row in found.items()},
    )


def _is_right(row: Mapping[str, Any]) -> bool:
    counted = next((row[name] for name in RIGHT if row.get(name) is not None), None)
    return bool(counted == 1.0) if counted is not None else row["output"].strip() == row["expected"].strip()


def by_id(scores: Scores) -> dict[str, dict[str, Any]]:
    """Id → the row as it was measured. Raises: OSError when the outputs are gone, or cut off."""
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        return {row["id"]: row for row in parquet.read_table(scores.outputs.uri).to_pylist()}
    except arrow.ArrowInvalid as error:
        raise OSError(str(error)) from error
