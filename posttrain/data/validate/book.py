"""The rule book of a split: its suite's expectations, each with the rule that stands for it.

Knows nothing of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from posttrain.data.rules import CountRule, RowRule, TableRule, rule_for
from posttrain.data.rules.expectation import Expectation, Severity

AnyRule = TypeVar("AnyRule")


@dataclass(frozen=True)
class Entry(Generic[AnyRule]):
    """An expectation, its place in the suite, and its twin."""

    order: int
    expectation: Expectation
    twin: AnyRule

    @property
    def rule(self) -> str:
        """The rule under which rows are set aside."""
        return self.expectation.rule


@dataclass(frozen=True)
class RuleBook:
    """What a split is held against. Rules on single rows run first, then those that compare rows; each in order.

    `names` are every rule and every type, as a spec may name them. Expectations whose twin is `idle`, because they ask
    nothing of a task of this kind, are left out of all else.
    """

    names: tuple[str, ...]
    expectations: tuple[Expectation, ...]
    on_rows: tuple[Entry[RowRule], ...]
    on_tables: tuple[Entry[TableRule], ...]
    on_counts: tuple[Entry[CountRule], ...]
    without_twin: tuple[Expectation, ...]

    @classmethod
    def of(cls, expectations: Sequence[Expectation]) -> RuleBook:
        """Raises `DataError` for an argument that an expectation does not have (see `rule_for`)."""
        twins = [(each, rule_for(each)) for each in expectations]
        busy = [(each, twin) for each, twin in twins if not getattr(twin, "idle", False)]
        made = [(order, each, twin) for order, (each, twin) in enumerate(busy)]
        return cls(
            tuple(dict.fromkeys(name for each in expectations for name in (each.rule, each.type))),
            tuple(each for each, _ in busy),
            tuple(Entry(order, each, twin) for order, each, twin in made if isinstance(twin, RowRule)),
            tuple(Entry(order, each, twin) for order, each, twin in made if isinstance(twin, TableRule)),
            tuple(Entry(order, each, twin) for order, each, twin in made if isinstance(twin, CountRule)),
            tuple(each for _, each, twin in made if twin is None),
        )

    def order(self, rule: str) -> int:
        """Where a rule first stands in the suite; problems of reading come first, whatever the suite."""
        return next((place for place, each in enumerate(self.expectations) if each.rule == rule), -1)

    def reason(self, rule: str) -> str:
        """What a rule asks of rows, in the suite's words."""
        return " ".join(dict.fromkeys(each.description for each in self.expectations if each.rule == rule))

    def severity(self, rule: str) -> Severity:
        """What becomes of rows that could not be read as they should."""
        return next((each.severity for each in self.expectations if each.rule == rule), "quarantine")

    def max_share(self, rule: str) -> float:
        """The largest share of a split's rows that may break a rule."""
        return min((each.max_share for each in self.expectations if each.rule == rule), default=1.0)
