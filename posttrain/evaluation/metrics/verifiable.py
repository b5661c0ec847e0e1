"""Answers that end in a number: right or wrong, whatever way led there. Knows nothing of how numbers are written."""

from __future__ import annotations

from posttrain.evaluation.final_answer import final_number, same
from posttrain.evaluation.metrics.metric import Answer, Cells


def answer_is_right(answer: Answer) -> Cells:
    """1 when the output's final number is that of the expected completion, 0 also when either has none."""
    expected, found = final_number(answer.expected), final_number(answer.output)
    return (float(expected is not None and found is not None and same(expected, found)),)
