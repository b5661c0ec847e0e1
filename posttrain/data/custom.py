"""A curation step of the user's own: one decorated function in a file that the spec names.

    from posttrain.data.custom import curation_step

    @curation_step(reason="answers in capitals")
    def no_shouting(row):
        if row["completion"].isupper():
            return "all capitals"

The function sees one row as a dictionary of texts and returns nothing to keep it, or what it found, in words. With
`verdict="review"` the row waits for a person's word. With `batch=True` the function sees a polars DataFrame and
returns a Series or list, one text a row, None or "" for rows to keep: the vectorised way for millions of rows.

The file runs with the user's rights, like any other of their Python files; it travels to worker processes as text.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from posttrain import user_file
from posttrain.data import findings
from posttrain.data.findings import Verdict
from posttrain.data.table import Table
from posttrain.errors import DataError

Function = TypeVar("Function", bound=Callable[..., Any])
_MARK = "__posttrain_curation_step__"


@dataclass(frozen=True)
class Marked:
    """What the decorator notes on a function."""

    name: str
    reason: str
    verdict: Verdict
    batch: bool


def curation_step(
    reason: str = "", *, name: str = "", verdict: Verdict = "drop", batch: bool = False
) -> Callable[[Function], Function]:
    """Make a function a curation step; its rule has the function's name unless `name` is given."""

    def decorate(function: Function) -> Function:
        words = reason or " ".join((function.__doc__ or function.__name__.replace("_", " ")).split())
        setattr(function, _MARK, Marked(name or function.__name__, words, verdict, batch))
        return function

    return decorate


@dataclass(frozen=True)
class CustomStep:
    """A `RowStep` around a user's function: its file's text and the function's name."""

    path: str
    text: str
    function: str
    marked: Marked

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.marked.name

    @property
    def reason(self) -> str:
        """What the function sets aside, as its decorator says."""
        return self.marked.reason

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Ask the user's function. Raises `DataError` naming file, line and row when it fails or returns no text."""
        function = user_file.names(self.path, self.text)[self.function]
        said = self._batch(function, rows) if self.marked.batch else self._rows(function, rows)
        hits = [(index, words) for index, words in enumerate(said) if words]
        return findings.findings(
            [index for index, _ in hits], [words for _, words in hits], self.reason, verdict=self.marked.verdict
        )

    def _rows(self, function: Callable[..., Any], rows: pl.DataFrame) -> Iterator[str]:
        for row in rows.drop(Table.INDEX, strict=False).iter_rows(named=True):
            yield self._text(self._called(function, row, row["source"]), row["source"])

    def _batch(self, function: Callable[..., Any], rows: pl.DataFrame) -> Iterator[str]:
        where = f"the batch from {rows['source'][0]}" if rows.height else "an empty batch"
        said = list(self._called(function, rows, where))
        if len(said) != rows.height:
            raise DataError(
                f"{self.path}: {self.function} returned {len(said)} values for {rows.height} rows, expected one a row; "
                "return None for rows to keep"
            )
        for words, source in zip(said, rows["source"], strict=True):
            yield self._text(words, source)

    def _called(self, function: Callable[..., Any], argument: Any, where: str) -> Any:
        try:
            return function(argument)
        except Exception as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.path]
            line = f":{lines[-1]}" if lines else ""
            raise DataError(
                f"{self.path}{line}: {self.function} raised {type(error).__name__} ({error}) at {where}; mend the step"
            ) from error

    def _text(self, said: Any, source: str) -> str:
        if said is None or said is False or said == "":
            return ""
        if isinstance(said, str):
            return said
        raise DataError(
            f"{self.path}: {self.function} returned {type(said).__name__} for {source}, expected None to keep the row "
            "or words that say what was found; mend the step"
        )


def load_steps(path: str, root: Path) -> list[CustomStep]:
    """The steps that a file declares, in its order.

    Raises `DataError` for a file that is missing, does not run or declares no step.
    """
    text = user_file.read(path, root, "curate.steps")
    names = user_file.names(path, text)
    marked = {name: getattr(value, _MARK) for name, value in names.items() if isinstance(_mark(value), Marked)}
    if not marked:
        raise DataError(f"{path}: declares no step; put @curation_step(…) over a function (posttrain.data.custom)")
    return [CustomStep(path, text, name, mark) for name, mark in marked.items()]


def _mark(value: Any) -> Any:
    return getattr(value, _MARK, None) if callable(value) else None
