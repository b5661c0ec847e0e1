"""Answers that are code: does it pass the row's tests. Knows nothing of how programs are held in bounds."""

from __future__ import annotations

from collections.abc import Sequence

from posttrain.evaluation import parse
from posttrain.evaluation.metrics.metric import Answer, Cells


def passes(answers: Sequence[Answer]) -> list[Cells]:
    """1 for each answer whose code, and then the row's tests, run to their end. Runs the model's code."""
    from posttrain.evaluation.run_code import passed

    return [(float(found),) for found in passed([(parse.code(each.output), each.tests) for each in answers])]
