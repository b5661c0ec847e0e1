"""What validation leaves behind: references to the rows that go on, the counts, and those set aside."""

from __future__ import annotations

from posttrain.artifacts import DatasetRef, Frozen

SPLITS = ("train", "test", "general", "general_held_out", "preference")
TRAINED_ON = ("train", "general", "preference")
"""Splits whose rows may be set aside; of the others, which are measured on, rows are only warned about."""
REASON = ("rule", "value", "threshold", "split", "twin")


class RuleCount(Frozen):
    """How many rows of a split broke a rule, what happened to them, what the rule asks, and the first ten in words."""

    rule: str
    severity: str
    rows: int
    split: str
    examples: tuple[str, ...] = ()
    reason: str = ""

    @property
    def example(self) -> str:
        """The first row, in words; of a rule about the table as a whole, what was found."""
        return self.examples[0] if self.examples else ""


class ValidateResult(Frozen):
    """The rows that go on, by split, and what was set aside. `rows_in` and `rows_out` count all splits together.

    A split's columns are those of its kind of row. `quarantine` has every column of a row, then rule, value,
    threshold, split and twin; `warned` has the same for rows that broke a rule and yet go on. `data_docs` is the
    index page.
    """

    train: DatasetRef
    test: DatasetRef
    general: DatasetRef | None
    general_held_out: DatasetRef | None
    preference: DatasetRef | None
    quarantine: DatasetRef
    warned: DatasetRef
    rules: tuple[RuleCount, ...]
    rows_in: int
    rows_out: int
    data_docs: str
