"""A metric of the user's own: one decorated function in a file that the spec names (`evaluate.metrics`).

    from posttrain.evaluation.custom_metric import metric

    @metric("share of answers that say please")
    def polite(prompts, completions, expected, **columns):
        return [float("please" in completion.lower()) for completion in completions]

The function sees the model's completions and the expected ones, row by row, every other column of the rows by its
name, and returns a number for each row; the score is their mean. Targets and gates may name it. With
`higher_is_better=False` less of it is better.

The file runs with the user's rights, like any other of their Python files; it travels to the measuring process as
text, and any change of it measures anew.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from posttrain import user_file
from posttrain.artifacts import Frozen
from posttrain.errors import DataError
from posttrain.evaluation.metrics import METRICS, Metric, mean

Function = TypeVar("Function", bound=Callable[..., Any])
_MARK = "__posttrain_metric__"
_TAKEN = ("id", "prompt", "expected", "output", "parsed")


@dataclass(frozen=True)
class Marked:
    """What the decorator notes on a function."""

    name: str
    meaning: str
    higher_is_better: bool


def metric(meaning: str = "", *, name: str = "", higher_is_better: bool = True) -> Callable[[Function], Function]:
    """Make a function a metric; it has the function's name unless `name` is given."""

    def decorate(function: Function) -> Function:
        words = meaning or " ".join((function.__doc__ or function.__name__.replace("_", " ")).split())
        setattr(function, _MARK, Marked(name or function.__name__, words, higher_is_better))
        return function

    return decorate


class OwnMetric(Frozen):
    """A user's metric in plain data: its file's text and the function's name."""

    path: str
    text: str
    function: str
    name: str
    meaning: str
    higher_is_better: bool

    def known(self) -> Metric:
        """Its entry in `METRICS`, made on first use, by which gates, decisions and reports find it in this process.

        Two specs measured in one process may not mean different things by one name: the last one counts.
        """
        METRICS[self.name] = Metric(
            name=self.name,
            meaning=self.meaning,
            kinds=(),
            columns=(self.name,),
            total=mean,
            higher_is_better=self.higher_is_better,
        )
        return METRICS[self.name]

    def values(self, rows: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> list[float]:
        """What the function says of each row. Raises `DataError` when it fails or returns no finite number for one."""
        names = [name for name in (rows[0] if rows else {}) if name not in ("prompt", "completion")]
        columns = {name: [row[name] for row in rows] for name in names}
        try:
            said = list(
                user_file.names(self.path, self.text)[self.function](
                    prompts=[row["prompt"] for row in rows],
                    completions=list(outputs),
                    expected=[row["completion"] for row in rows],
                    **{
                        name: cells
                        for name, cells in columns.items()
                        if name not in ("prompts", "completions", "expected")
                    },
                )
            )
        except Exception as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.path]
            where = f"{self.path}:{lines[-1]}" if lines else self.path
            raise DataError(
                f"{where}: {self.function} raised {type(error).__name__} ({error}); mend the metric"
            ) from error
        if len(said) != len(rows):
            raise DataError(
                f"{self.path}: {self.function} returned {len(said)} values for {len(rows)} rows; return one for each"
            )
        return [self._number(value, row) for value, row in zip(said, rows, strict=True)]

    def _number(self, value: Any, row: Mapping[str, Any]) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"{self.path}: {self.function} returned {value!r} for row {row['id']}, expected a finite number"
            )
        return number


def load_metrics(path: str, root: Path) -> list[OwnMetric]:
    """The metrics that a file declares, in its order.

    Raises: `DataError` for a file that is missing, does not run or declares no metric, and for a name that is taken.
    """
    text = user_file.read(path, root, "evaluate.metrics")
    marked = {name: mark for name, value in user_file.names(path, text).items() if (mark := _mark(value))}
    if not marked:
        raise DataError(
            f"{path}: declares no metric; put @metric(…) over a function (posttrain.evaluation.custom_metric)"
        )
    for mark in marked.values():
        _check_name(path, mark.name)
    return [
        OwnMetric(
            path=path,
            text=text,
            function=function,
            name=mark.name,
            meaning=mark.meaning,
            higher_is_better=mark.higher_is_better,
        )
        for function, mark in marked.items()
    ]


def _check_name(path: str, name: str) -> None:
    built_in = {column for entry in METRICS.values() if entry.kinds or entry.name == "perplexity" for column in
                (entry.name, *entry.columns)}  # fmt: skip
    if name in built_in or name in _TAKEN or not name.isidentifier():
        why = "which is no plain name" if not name.isidentifier() else "which Posttrain uses itself"
        raise DataError(f"{path}: declares the metric {name!r}, {why}; choose another name")


def _mark(value: Any) -> Marked | None:
    found = getattr(value, _MARK, None) if callable(value) else None
    return found if isinstance(found, Marked) else None
