"""What a metric is: columns counted in each row, and a function from their sums to its value.

Resampling rows, pairing two models and testing their difference then need the counts only. Knows no single metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from posttrain.evaluation import parse
from posttrain.evaluation.statistics import Floats, Total

Cell = float | str
Cells = tuple[Cell, ...]
"""What a metric counts in one row: numbers, or texts where the classes to count are known from all rows only."""

Matrices = Callable[[Sequence[Sequence[Cells]]], list[Floats]]
"""From the cells of one or two models' rows to numbers (rows, k) each, with the same k for all of them."""


@dataclass(frozen=True)
class Answer:
    """One row's expected completion and the model's output, parsed once for all metrics.

    `prompt` and `system` are what the model was told; `json_schema` is the task's, as text, empty without one; `tests`
    is the code that tests an answer in code.
    """

    kind: str
    expected: str
    output: str
    prompt: str = ""
    system: str = ""
    json_schema: str = ""
    tests: str = ""

    @cached_property
    def wanted(self) -> parse.Found:
        """The JSON in the expected completion."""
        return parse.find(self.expected)

    @cached_property
    def found(self) -> parse.Found:
        """The JSON in the output."""
        return parse.find(self.output)


def as_numbers(tables: Sequence[Sequence[Cells]]) -> list[Floats]:
    """Cells that are numbers already, (rows, columns) for each table."""
    return [np.array([list(row) for row in rows], dtype=np.float64) for rows in tables]


@dataclass(frozen=True)
class Metric:
    """A metric: `count` gives a row's `columns`, `matrices` makes numbers of them, `total` turns their sums and the
    number of rows into the value.

    `count_all` stands in for `count` where many rows at a time are cheaper, or where a user's function wants them so.
    """

    name: str
    meaning: str
    kinds: tuple[str, ...]
    columns: tuple[str, ...]
    total: Total
    count: Callable[[Answer], Cells] | None = None
    count_all: Callable[[Sequence[Answer]], Sequence[Cells]] | None = None
    matrices: Matrices = as_numbers
    higher_is_better: bool = True
    per_row: bool = True
    """Whether the value makes sense for a single row, and so gets a column of its own."""
    needs_schema: bool = False
    """Whether it is measured only where the task has a JSON Schema."""
    on_request: tuple[str, ...] = ()
    """The kinds for which it is measured only where a target or a gate names it, because it costs much."""
    judges: tuple[str, ...] = ()
    """The sorts of judge ("reward", "endpoint") of which one has to be there; empty: it needs none."""

    def cells(self, answers: Sequence[Answer]) -> list[Cells]:
        """What is counted in each row; nothing where it is counted elsewhere (perplexity, a judge's, `stop_rate`)."""
        if self.count_all is not None:
            return list(self.count_all(answers))
        return [self.count(answer) for answer in answers] if self.count is not None else []

    @property
    def counted_here(self) -> bool:
        """Whether a row and its output are all that is needed to count."""
        return self.count is not None or self.count_all is not None

    def value(self, rows: Sequence[Cells]) -> float:
        """The metric over some rows."""
        (numbers,) = self.matrices([rows])
        return float(self.total(numbers.sum(axis=0), len(rows)))
