"""The run report: one self-contained HTML page. Knows nothing of how anything was measured or trained."""

from posttrain.report.changes import compare_outputs
from posttrain.report.confusion import confusion_of
from posttrain.report.content import (
    Changes,
    Confusion,
    FunnelRow,
    Lineage,
    ListedRow,
    Listing,
    ReportInput,
    Reproduction,
    RowsCurve,
    RuleRow,
    ScoreLine,
    SideBySide,
    StageCost,
    TrainingCurve,
)
from posttrain.report.listing import listings
from posttrain.report.outputs import side_by_side
from posttrain.report.page import render, write
from posttrain.report.versions import library_versions

__all__ = [
    "Changes",
    "Confusion",
    "FunnelRow",
    "Lineage",
    "ListedRow",
    "Listing",
    "ReportInput",
    "Reproduction",
    "RowsCurve",
    "RuleRow",
    "ScoreLine",
    "SideBySide",
    "StageCost",
    "TrainingCurve",
    "compare_outputs",
    "confusion_of",
    "library_versions",
    "listings",
    "render",
    "side_by_side",
    "write",
]
