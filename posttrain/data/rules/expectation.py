"""One line of a suite, read: which expectation, with which arguments, and what becomes of rows that break it.

The suite is the declaration: the vectorised rules and Great Expectations are both built from these lines, so that
they cannot disagree. Knows neither of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["quarantine", "warn", "stop"]
"""quarantine: set the row aside. warn: list it, and let it go on. stop: refuse to run."""


@dataclass(frozen=True)
class Expectation:
    """An expectation of a suite, its parameters filled in.

    Args:
        type: the name under which Great Expectations knows it.
        kwargs: its arguments, without `mostly` and `row_condition`.
        rule: the name under which its rows are set aside; several expectations may share one.
        severity: what becomes of a row that breaks it.
        max_share: the run stops when a larger share of a split's rows breaks the rule, 0 to 1.
        mostly: the expectation holds, and no row is set aside, when at least this share of rows keeps it.
        condition: only rows of which this holds are looked at (a `row_condition` as Great Expectations writes it).
        suite: the name of its suite, for messages.
    """

    type: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    rule: str = ""
    severity: Severity = "quarantine"
    max_share: float = 1.0
    mostly: float = 1.0
    condition: Mapping[str, Any] | None = None
    description: str = ""
    suite: str = ""

    @property
    def place(self) -> str:
        """How a message names it."""
        return f"suite {self.suite}: {self.type}"
