"""Answers that are one label of several. The labels that rows expect are the classes; any other answer is "other"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from posttrain.evaluation import parse
from posttrain.evaluation.metrics.metric import Answer, Cells
from posttrain.evaluation.statistics import Floats

EXPECTED, PREDICTED = "label_expected", "label_predicted"
"""The columns that say which label a row expects, and which one the model gave."""
OTHER = "other"


def both(answer: Answer) -> Cells:
    """The expected label and the one in the output, folded so that case and quotes do not count."""
    return parse.label(answer.expected), parse.label(answer.output)


def is_right(answer: Answer) -> Cells:
    """1 when the labels are the same."""
    expected, predicted = both(answer)
    return (float(expected == predicted),)


def by_class(tables: Sequence[Sequence[Cells]]) -> list[Floats]:
    """For each class three columns: the row is a hit, expects the class, predicts the class.

    The classes are the labels that the rows expect, those of all tables, so that two models on the same rows have the
    same columns, whatever they answered; a label that no row expects is a mistake and no class.
    """
    classes = np.array(sorted({str(row[0]) for rows in tables for row in rows}), dtype=object)
    made = []
    for rows in tables:
        cells = np.array([list(row) for row in rows], dtype=object).reshape(len(rows), 2)
        expected, predicted = (cells[:, place, None] == classes for place in range(2))
        three = np.stack([expected & predicted, expected, predicted], axis=-1)
        made.append(three.reshape(len(rows), -1).astype(np.float64))
    return made


def confusion(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line for each expected label: how many of its rows were given which label.

    `rows` are those of `outputs.parquet`. The columns are the expected labels again and "other", for answers that are
    none of them ("no known label" where a label is called other).
    """
    counts = Counter((str(row[EXPECTED]), str(row[PREDICTED])) for row in rows)
    classes = sorted({expected for expected, _ in counts})
    rest = OTHER if OTHER not in classes else "no known label"
    table = []
    for expected in classes:
        line = {predicted: counts[expected, predicted] for predicted in classes}
        among = sum(line.values())
        whole = sum(count for (wanted, _), count in counts.items() if wanted == expected)
        table.append({"expected \\ predicted": expected, **line, rest: whole - among})
    return table
