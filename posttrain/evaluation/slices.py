"""Slices: parts of the measured rows that are scored by themselves, so that a good mean cannot hide a bad part.

A slice is chosen (by a column's values or a pattern in the prompt) or made (the first rows, asked again with noise). A
model that is fine on the whole and lags on a noisy slice knows the task: S0 sends it on to preference optimisation.
Knows nothing of models or metrics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.artifacts import Frozen
from posttrain.errors import DataError
from posttrain.evaluation.noise import Noise, noisy, repeated

Row = Mapping[str, str]


class Slice(Frozen):
    """One slice; exactly one of `noise`, `column` and `pattern` is given (`evaluate.slices` of the spec).

    `values` are those of `column`; `rows` is how many rows noise is made for, at most.
    """

    name: str
    noise: Noise | None = None
    column: str | None = None
    values: tuple[str, ...] = ()
    pattern: str | None = None
    rows: int = 200
    seed: int = 0

    @property
    def made(self) -> bool:
        """Whether its prompts differ from those of the rows, so that they must be answered again."""
        return self.noise is not None


def chosen(part: Slice, rows: Sequence[Row]) -> list[int]:
    """Positions of the rows that are in a slice.

    Raises: `DataError` when the rows lack its column, and when it holds none of them.
    """
    if part.noise is not None:
        found = list(range(min(part.rows, len(rows))))
    elif part.column is not None:
        if rows and part.column not in rows[0]:
            raise DataError(
                f"evaluate.slices: {part.name}: found columns {', '.join(rows[0])}, expected {part.column}; keep it "
                f"with the rows (data.….keep: [{part.column}])"
            )
        found = [place for place, row in enumerate(rows) if row[part.column] in part.values]
    else:
        search = re.compile(part.pattern or "").search
        found = [place for place, row in enumerate(rows) if search(row["prompt"])]
    if not found:
        raise DataError(
            f"evaluate.slices: {part.name}: holds none of {len(rows):,} rows, expected some; mend the slice"
        )
    return found


def said_carelessly(part: Slice, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of a made slice, each prompt with noise; what the answer repeats of it is left alone."""
    assert part.noise is not None
    made = []
    for row in (rows[place] for place in chosen(part, rows)):
        keep = repeated(row["completion"], row["prompt"])
        made.append({**row, "prompt": noisy(row["prompt"], part.noise, list(keep), part.seed)})
    return made
