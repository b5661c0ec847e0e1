"""The texts of rows, taken out of their columns so that all can be worked on at once, and put back.

A text is a whole cell, or, where a cell is JSON, each text within it: the values of a JSON answer, the turns of a
conversation (and the values of a turn that is JSON). Knows nothing of what is done to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import orjson
import polars as pl

from posttrain.data.text import labels

CELLS = ("system", "prompt", "completion", "chosen", "rejected")
ANSWERS = ("completion", "chosen", "rejected")
MESSAGES = "messages"

_NUMBER_AS_WRITTEN = re.compile(r"\d\.\d*0(?!\d)|[\s:,\[]-?\d+(?:\.\d+)?[eE][-+]?\d")
"""Numbers that Python would spell otherwise: 850.50. They stay as they are, unless a text beside them changes."""

Change = Callable[[str, bool], str]
"""From a text, and whether it is an answer's prose, to what shall stand there."""


class Walk(Protocol):
    """A cell with each of its texts changed. Visits them in the same order each time."""

    def __call__(self, cell: str, change: Change) -> str: ...


def values(cell: str, change: Change) -> str:
    """Walks the values of a JSON answer."""
    return labels.mapped(cell, lambda text: change(text, False))


def turns(cell: str, change: Change) -> str:
    """Walks the turns of a conversation."""
    walked = orjson.loads(cell)
    for turn in walked:
        content = turn.get("content")
        if isinstance(content, str):
            is_answer = turn.get("role") == "assistant"
            turn["content"] = values(content, change) if labels.is_json(content) else change(content, is_answer)
    return orjson.dumps(walked).decode()


@dataclass(frozen=True, eq=False)
class Nested:
    """Cells of a column that hold texts: the rows they are in, what is in them, and how we spell them unchanged."""

    column: str
    rows: list[int]
    cells: list[str]
    spelled: list[str]
    texts: list[list[str]]
    prose: list[list[bool]]
    walk: Walk

    @classmethod
    def of(cls, column: pl.Series, walk: Walk) -> Nested:
        """The cells of a column that are JSON objects or arrays."""
        at = column.str.contains(r"^\s*[\[{]").arg_true()
        nested = cls(column.name, [], [], [], [], [], walk)
        for row, cell in zip(at.to_list(), column.gather(at).to_list(), strict=True):
            texts: list[str] = []
            prose: list[bool] = []

            def note(text: str, is_answer: bool, texts: list[str] = texts, prose: list[bool] = prose) -> str:
                texts.append(text)
                prose.append(is_answer)
                return text

            try:
                spelled = walk(cell, note)
            except (ValueError, RecursionError):  # not JSON after all, or nested too deep
                continue
            nested.spelled.append(cell if spelled != cell and _NUMBER_AS_WRITTEN.search(cell) else spelled)
            nested.rows.append(row)
            nested.cells.append(cell)
            nested.texts.append(texts)
            nested.prose.append(prose)
        return nested

    @property
    def owners(self) -> np.ndarray:
        """The row of each text."""
        return np.repeat(np.array(self.rows, np.int64), [len(texts) for texts in self.texts])

    def refolded(self, texts: Iterator[str]) -> list[str]:
        """The cells with these texts in place of their own."""
        cells = list(self.spelled)
        for number, old in enumerate(self.texts):
            new = [next(texts) for _ in old]
            if new != old:
                rest = iter(new)
                cells[number] = self.walk(self.cells[number], lambda *_, rest=rest: next(rest))
        return cells


@dataclass(frozen=True, eq=False)
class Unfolded:
    """Every text of some rows, and where each belongs: first whole columns, then what is nested.

    Args:
        texts: all of them; a cell whose texts are nested stands here as "".
        rows: whose text each is (int64).
        prose: whether each is an answer's prose (Boolean).
        labelled: whether each belongs to a row with a JSON answer (Boolean).
    """

    texts: pl.Series
    rows: np.ndarray
    prose: pl.Series
    labelled: pl.Series
    columns: tuple[str, ...]
    nested: tuple[Nested, ...]

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Unfolded:
        """The texts of a batch."""
        columns = tuple(name for name in CELLS if name in rows.columns)
        nested = tuple(
            Nested.of(rows[name], turns if name == MESSAGES else values)
            for name in (*ANSWERS, MESSAGES)
            if name in rows.columns
        )
        whole = {name: rows[name] for name in columns}
        for each in nested:
            if each.rows and each.column in whole:
                whole[each.column] = whole[each.column].clone().scatter(each.rows, "")
        inner = pl.Series([text for each in nested for texts in each.texts for text in texts], dtype=pl.String)
        owners = np.concatenate([np.tile(np.arange(rows.height), len(columns)), *(each.owners for each in nested)])
        prose = [np.repeat([name in ANSWERS for name in columns], rows.height)]
        prose += [np.array([flag for each in nested for flags in each.prose for flag in flags], dtype=bool)]
        labelled = np.zeros(rows.height, bool)
        for each in nested:
            if each.column != MESSAGES:
                labelled[each.rows] = True
        return cls(
            pl.concat([*(cells.alias("") for cells in whole.values()), inner]),
            owners,
            pl.Series(np.concatenate(prose)),
            pl.Series(labelled[owners]),
            columns,
            nested,
        )

    def folded(self, rows: pl.DataFrame, texts: pl.Series) -> pl.DataFrame:
        """The rows with these texts in place of their own."""
        new = {name: texts.slice(place * rows.height, rows.height) for place, name in enumerate(self.columns)}
        inner = iter(texts.slice(len(self.columns) * rows.height).to_list())
        for nested in self.nested:
            column = new.get(nested.column, rows[nested.column])
            cells = pl.Series(nested.refolded(inner), dtype=pl.String)
            new[nested.column] = column.clone().scatter(nested.rows, cells) if nested.rows else column
        return rows.with_columns(column.alias(name) for name, column in new.items())
