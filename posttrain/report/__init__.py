"""The run report: one self-contained HTML page. Knows nothing of how anything was measured or trained."""

from posttrain.report.content import (
    FunnelRow,
    Lineage,
    ReportInput,
    RuleRow,
    ScoreLine,
    SideBySide,
    StageCost,
    TrainingCurve,
)
from posttrain.report.outputs import side_by_side
from posttrain.report.page import render, write

__all__ = [
    "FunnelRow",
    "Lineage",
    "ReportInput",
    "RuleRow",
    "ScoreLine",
    "SideBySide",
    "StageCost",
    "TrainingCurve",
    "render",
    "side_by_side",
    "write",
]
