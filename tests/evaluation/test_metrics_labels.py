"""Classification: labels, accuracy, macro F1 and the confusion table; numbers derived by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
from pyarrow import parquet
from sklearn.metrics import f1_score

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.evaluation.metrics import METRICS, Answer, confusion, names, row_values
from posttrain.evaluation.scores import Score, Scores
from posttrain.evaluation.statistics import interval
from posttrain.gates import compare

# spam 2 (one taken for ham), ham 3 (one answer is no label), eggs 1 (taken for spam)
PAIRS = [
    ("spam", "Spam."),
    ("spam", "ham"),
    ("ham", "ham"),
    ("ham", '{"label": "ham"}'),
    ("ham", "I think it is ham"),
    ("eggs", "label: spam"),
]


def counted(pairs: list[tuple[str, str]]) -> list[dict[str, float | str]]:
    answers = [Answer("classification", expected, output) for expected, output in pairs]
    return row_values(answers, [METRICS[name] for name in names("classification")])


def test_macro_f1_is_the_mean_of_the_classes() -> None:
    """spam: hits 1, expected 2, predicted 2: 2/4. ham: 2, 3, 3: 4/6. eggs: 0, 1, 0: 0. Mean (1/2 + 2/3 + 0) / 3."""
    metric = METRICS["macro_f1"]
    rows = [tuple(row[name] for name in metric.columns) for row in counted(PAIRS)]
    assert metric.value(rows) == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert METRICS["accuracy"].value([(row["accuracy"],) for row in counted(PAIRS)]) == pytest.approx(3 / 6)
    # scikit-learn counts a label that no row expects as a class, unless it is told the classes.
    expected, predicted = zip(*rows, strict=True)
    known = sorted(set(expected))
    assert metric.value(rows) == pytest.approx(f1_score(expected, predicted, labels=known, average="macro"))


def test_every_resample_is_the_macro_f1_of_its_rows() -> None:
    """A class of which a resample draws no row is left out of its mean: no resample of these rows is below 1."""
    metric = METRICS["macro_f1"]
    (columns,) = metric.matrices([[("a", "a"), ("b", "b"), ("c", "c")]])
    assert columns.sum(axis=0).tolist() == [1.0] * 9
    found = interval(columns, metric.total, 200, 0)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_two_models_have_the_same_classes_whatever_they_answer() -> None:
    metric = METRICS["macro_f1"]
    one, other = metric.matrices([[("a", "a"), ("b", "x")], [("a", "b"), ("b", "y")]])
    # Hit, expects and predicts a; the same of b.
    assert one.tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]]
    assert other.tolist() == [[0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0]]
    assert np.isclose(metric.total(one.sum(axis=0), 2), 0.5)


def test_the_confusion_table_has_what_is_no_label_under_other() -> None:
    assert confusion(counted(PAIRS)) == [
        {"expected \\ predicted": "eggs", "eggs": 0, "ham": 0, "spam": 1, "other": 0},
        {"expected \\ predicted": "ham", "eggs": 0, "ham": 2, "spam": 0, "other": 1},
        {"expected \\ predicted": "spam", "eggs": 0, "ham": 1, "spam": 1, "other": 0},
    ]
    assert confusion(counted([("other", "x")])) == [{"expected \\ predicted": "other", "other": 0, "no known label": 1}]


def scores(folder: Path, name: str, outputs: list[str]) -> Scores:
    table = counted([("ab"[place % 2], output) for place, output in enumerate(outputs)])
    path = folder / name
    parquet.write_table(arrow.Table.from_pylist([{"id": str(at), **row} for at, row in enumerate(table)]), path)
    ref = DatasetRef(uri=str(path), fingerprint=name, rows=len(table))
    score = Score(value=0, low=0, high=0)
    return Scores(model=ModelRef(base="m", fingerprint="f"), split="test", prompting="zero-shot", rows=len(table),
                  metrics={"macro_f1": score}, outputs=ref, seconds=0)  # fmt: skip


def test_gates_compare_two_models_by_macro_f1(tmp_path: Path) -> None:
    """The better one is right throughout: 1. The other says a always: a has F1 2·4 / (4 + 8), b 0; mean 1/3."""
    better, worse = scores(tmp_path, "one", list("abababab")), scores(tmp_path, "other", list("aaaaaaaa"))
    gain = compare(better, worse, "macro_f1", 256)
    assert gain is not None
    assert (gain.value, gain.rows, gain.test) == (pytest.approx(2 / 3), 8, "permutation")
    # The four rows of b differ: only when all of them keep or change sides is the difference as large, 2 in 16.
    assert gain.p_value == pytest.approx(2 / 16)
