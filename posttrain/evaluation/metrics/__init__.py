"""The metrics of each task kind, one table; `table.METRICS` says how to add one."""

from posttrain.evaluation.metrics.labels import confusion
from posttrain.evaluation.metrics.metric import Answer, Cell, Cells, Metric
from posttrain.evaluation.metrics.structured import JSON_KINDS, fields
from posttrain.evaluation.metrics.table import (
    JUDGED,
    KINDS,
    MAIN,
    METRICS,
    PROSE_KINDS,
    STOPPED,
    main_metric,
    names,
    row_values,
    verify,
)
from posttrain.evaluation.metrics.totals import exponential_mean, mean, micro_f1

__all__ = [
    "JSON_KINDS",
    "JUDGED",
    "KINDS",
    "MAIN",
    "METRICS",
    "PROSE_KINDS",
    "STOPPED",
    "Answer",
    "Cell",
    "Cells",
    "Metric",
    "confusion",
    "exponential_mean",
    "fields",
    "main_metric",
    "mean",
    "micro_f1",
    "names",
    "row_values",
    "verify",
]
