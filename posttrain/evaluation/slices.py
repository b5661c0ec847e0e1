"""Slices: parts of the measured rows that are scored by themselves, so that a good mean cannot hide a bad part.

A slice is chosen (by a column's values or a pattern in the prompt) or made (the first rows, asked again with noise). A
model that is fine on the whole and lags on a noisy slice knows the task: S0 sends it on to preference optimisation.
Knows nothing of models or metrics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

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


class SlicesLike(Protocol):
    """The part of the spec's `evaluate` section that is read here."""

    @property
    def slices(self) -> Sequence[Any]: ...
    @property
    def seed(self) -> int: ...


def slices_of(spec: SlicesLike) -> tuple[Slice, ...]:
    """The slices that a spec names."""
    return tuple(Slice(**part.model_dump(), seed=spec.seed) for part in spec.slices)


def chosen(part: Slice, rows: Sequence[Row]) -> list[int]:
    """Positions of the rows that are in a slice.

    Raises: `DataError` when the rows lack its column, and when it holds none of them.
    """
    found = members(part, rows)
    if not found:
        raise DataError(
            f"evaluate.slices: {part.name}: holds none of {len(rows):,} rows, expected some; mend the slice"
        )
    return found


def check_inhabited(parts: Sequence[Slice], splits: Mapping[str, Sequence[Row]]) -> None:
    """Before anything is trained: every chosen slice has rows in every split that will be measured.

    `splits` are rows by what readers call them. Raises: `DataError` for a slice without rows, or without its column.
    """
    for part in parts:
        for name, rows in splits.items():
            if not part.made and rows and not members(part, rows):
                raise DataError(
                    f"evaluate.slices: {part.name}: holds none of the {len(rows):,} {name} rows, expected some; mend "
                    "the slice, or measure more rows"
                )


def members(part: Slice, rows: Sequence[Row]) -> list[int]:
    """The same positions, be there any or none. Raises: `DataError` when the rows lack the slice's column."""
    if part.noise is not None:
        return list(range(min(part.rows, len(rows))))
    if part.column is not None:
        if rows and part.column not in rows[0]:
            raise DataError(
                f"evaluate.slices: {part.name}: found columns {', '.join(rows[0])}, expected {part.column}; keep it "
                f"with the rows (data.….keep: [{part.column}])"
            )
        return [place for place, row in enumerate(rows) if row[part.column] in part.values]
    search = re.compile(part.pattern or "").search
    return [place for place, row in enumerate(rows) if search(row["prompt"])]


def said_carelessly(part: Slice, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The first rows that noise can change, each said so; what the answer repeats of its prompt is left alone.

    A row in which nothing can be changed is no row of a careless slice: it would be the clean one again.
    Raises: `DataError` when there is no other.
    """
    changed = (made for row in rows for made in with_noise(part, [row]) if made["prompt"] != row["prompt"])
    found = list(islice(changed, part.rows))
    if not found:
        raise DataError(
            f"evaluate.slices: {part.name}: {part.noise} changes none of {len(rows):,} prompts, expected some; choose "
            "another noise"
        )
    return found


def with_noise(part: Slice, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """All of these rows, said so; of a conversation the last thing that the user says."""
    assert part.noise is not None
    made = []
    for row in rows:
        keep = list(repeated(row["completion"], row["prompt"]))
        turns: list[dict[str, str]] = json.loads(row.get("messages") or "[]")
        own = _asking(turns)
        said = noisy(own["content"] if own else row["prompt"], part.noise, keep, part.seed)
        if own is None:
            made.append({**row, "prompt": said})
            continue
        head, _, tail = row["prompt"].rpartition(own["content"])  # the prompt is the turns, flattened
        own["content"] = said
        made.append({**row, "prompt": f"{head}{said}{tail}", "messages": json.dumps(turns, ensure_ascii=False)})
    return made


def _asking(turns: Sequence[dict[str, str]]) -> dict[str, str] | None:
    """The last user's turn before the answer, which is the last assistant's turn; None without turns."""
    answers = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    users = [turn for turn in turns[: answers[-1] if answers else None] if turn["role"] == "user"]
    return users[-1] if users else None
