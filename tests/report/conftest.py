"""A report of a run that went all the way."""

from __future__ import annotations

import pytest
from reports import full_report

from posttrain import report


@pytest.fixture
def full() -> report.ReportInput:
    """A run that went all the way, and was refused at release."""
    return full_report()
