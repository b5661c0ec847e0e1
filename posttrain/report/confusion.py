"""Which labels a classifier takes for which: the table, and the commonest mistakes where there are too many labels."""

from __future__ import annotations

from posttrain.evaluation.scores import Scores
from posttrain.evaluation.scoring import confusion_table
from posttrain.report.content import Confusion

MOST_LABELS = 12
"""With more, a table is no longer read; the commonest mistakes are."""
MISTAKES = 15


def confusion_of(label: str, scores: Scores) -> Confusion | None:
    """The table of a measured classifier; None for other tasks, and when its outputs are gone."""
    try:
        (lines,) = confusion_table(scores).values() or ([],)
    except OSError:
        return None
    if not lines:
        return None
    first, *predicted = lines[0]
    return Confusion(
        label=label,
        expected=tuple(str(line[first]) for line in lines),
        predicted=tuple(predicted),
        counts=tuple(tuple(int(line[name]) for name in predicted) for line in lines),
    )


def mistakes(table: Confusion) -> list[tuple[str, str, int, int]]:
    """(expected, taken for, rows, of so many), the commonest first."""
    found = [
        (expected, predicted, count, sum(line))
        for expected, line in zip(table.expected, table.counts, strict=True)
        for predicted, count in zip(table.predicted, line, strict=True)
        if count and expected != predicted
    ]
    return sorted(found, key=lambda each: (-each[2], each[0], each[1]))[:MISTAKES]
