"""Row rules: what makes a row unfit for use, vectorised. Each is the twin of an expectation (`registry.py`).

To add one: write the expectation in `expectations/`, and beside the rules of its family here a frozen dataclass with
its arguments and the `twin` decorator. A line in a suite turns both on.
"""

from __future__ import annotations

from posttrain.data.rules import builtin, label, preference, prose, table  # noqa: F401  they register their rules
from posttrain.data.rules.expectation import Expectation, Severity
from posttrain.data.rules.registry import CountRule, RowRule, Rule, TableRule, columns, rule_for

__all__ = ["CountRule", "Expectation", "RowRule", "Rule", "Severity", "TableRule", "columns", "rule_for"]
