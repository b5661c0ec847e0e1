"""The decision space again, every corner of a grid over it: hypothesis draws some fifty points a property, this walks
all combinations of the levels that a decision can tell apart, and so can say that no leaf is out of reach.

`Grid.step` compares corners that differ in one axis only, from the worse level to the better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from decisions import AFTER, BEFORE, check, scored

from posttrain.evaluation.learning_curve import RowsNeeded
from posttrain.evaluation.scores import Gain
from posttrain.gates import Verdict
from posttrain.strategy import Evidence, Limits, Quality, decide

Corner = tuple[int, ...]
Axes = Mapping[str, Sequence[Any]]

POOR = {"slot_f1": 0.1, "valid_json": 0.1}
NEAR = {"slot_f1": 0.75, "valid_json": 1.0}
GOOD = {"slot_f1": 0.9, "valid_json": 1.0}
TARGETS = {"slot_f1": 0.8, "valid_json": 0.95}
SECONDS = {"align_base": 600.0, "sft": 1200.0, "align": 1800.0}
TRAINS = ("sft", "align_base", "align")


@dataclass(frozen=True)
class Grid:
    """The action at every corner; a level of an axis is a value of its field, or several fields at once."""

    axes: Axes
    actions: Mapping[Corner, str]

    @classmethod
    def of(cls, step: str, axes: Axes) -> Grid:
        actions = {}
        for corner in product(*(range(len(levels)) for levels in axes.values())):
            found = {"step": step, "kind": "intent_slots", **fields(axes, corner)}
            actions[corner] = decide(Evidence.model_construct(**{**DEFAULTS, **found})).action
        return cls(axes, actions)

    def step(self, axis: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(action, action at the next level of the axis, what else holds) of every pair of neighbours."""
        place = list(self.axes).index(axis)
        for corner, action in self.actions.items():
            other = (*corner[:place], corner[place] + 1, *corner[place + 1 :])
            if other in self.actions:
                yield action, self.actions[other], fields(self.axes, corner)

    def at(self, **levels: int) -> Iterator[str]:
        """The actions of all corners with these levels."""
        wanted = {list(self.axes).index(axis): level for axis, level in levels.items()}
        return (action for corner, action in self.actions.items() if all(corner[at] == n for at, n in wanted.items()))


def fields(axes: Axes, corner: Corner) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (name, levels), at in zip(axes.items(), corner, strict=True):
        found |= levels[at] if isinstance(levels[at], Fields) else {name: levels[at]}
    return found


class Fields(dict[str, Any]):
    """A level that sets several fields."""


DEFAULTS = {name: field.get_default() for name, field in Evidence.model_fields.items() if not field.is_required()}


def money(most: float | None) -> Fields:
    return Fields(seconds=SECONDS, limits=Limits(max_minutes=most, max_bad_share=0.5))


COSTS = (money(5.0), money(15.0), money(25.0), money(None))
"""Nothing is within the limits, DPO alone, SFT too, everything."""


@pytest.fixture(scope="module")
def before() -> Grid:
    plain, shown, thought = scored, lambda v: scored(v, "few-shot"), lambda v: scored(v, "step-by-step")
    return Grid.of(
        "baseline",
        {
            "prompt": [
                *(Fields(zero_shot=plain(values)) for values in (POOR, NEAR)),
                Fields(zero_shot=plain(NEAR), step_by_step=thought(GOOD)),
                Fields(zero_shot=plain(GOOD), step_by_step=thought(GOOD)),
            ],
            "few_shot": [None, shown(POOR), shown(NEAR), shown(GOOD)],
            "usable_rows": [50, 5000],
            "align": ["never", "auto"],
            "new_pattern": ["auto", "yes", "no"],
            "preferences": [None, "none", "verifier", "people"],
            "quality": [Quality(rows=10, bad={"harm": 6}), Quality(rows=10, bad={"harm": 5})],
            "cost": [COSTS[0], COSTS[1], COSTS[3]],
            "targets": [TARGETS, {}],
        },
    )


def gain(low: float, high: float) -> Gain:
    return Gain(value=(low + high) / 2, low=low, high=high, p_value=0.04, detectable=0.1, rows=200)


def verdict(*outcomes: tuple[str, str]) -> Verdict:
    return Verdict(name="after_sft", checks=tuple(check(*each) for each in outcomes), summary="x")


def curve(answer: str, rows: int | None = None) -> RowsNeeded:
    told = {"metric": "slot_f1", "target": 0.8, "tried": 500, "low": None, "high": None, "words": "curve"}
    return RowsNeeded.model_validate({**told, "answer": answer, "rows": rows})


HALF = {"slot_f1": 0.6, "valid_json": 1.0}


@pytest.fixture(scope="module")
def after() -> Grid:
    def trained(values: dict[str, float], part: dict[str, float] | None) -> Any:
        return scored(values, slices={"colloquial": scored(part)} if part else {})

    return Grid.of(
        "after_sft",
        {
            "after_sft": [
                trained(POOR, POOR), trained(HALF, POOR), trained(HALF, HALF), trained(GOOD, HALF), trained(GOOD, GOOD),
            ],
            "verdict": [
                verdict(("perplexity", "refused")), verdict(("slot_f1", "refused")),
                verdict(("slot_f1", "too_few_rows")), verdict(("slot_f1", "passed")), None,
            ],
            "gain": [None, gain(-0.2, -0.1), gain(-0.1, 0.3), gain(0.1, 0.3)],
            "align": ["never", "auto", "always"],
            "rows_needed": [None, curve("flat"), curve("reachable", 900)],
            "cost": [COSTS[2], COSTS[3]],
            "targets": [TARGETS, {}],
            "zero_shot": [scored(POOR)],
            "usable_rows": [500],
        },
    )  # fmt: skip


def test_every_leaf_can_be_reached_and_no_other(before: Grid, after: Grid) -> None:
    assert set(before.actions.values()) == BEFORE.keys()
    assert set(after.actions.values()) == AFTER.keys()


@pytest.mark.parametrize("axis", ["prompt", "few_shot"])
def test_better_prompting_never_leads_to_a_costlier_rung(before: Grid, axis: str) -> None:
    """But for one thing: where SFT is over the limits and a better prompt shows that it is not needed, DPO may be
    within them, and so be reached from the advice to keep the prompt."""
    for worse, better, held in before.step(axis):
        dear = held["limits"].max_minutes is not None
        assert BEFORE[better] <= BEFORE[worse] or (worse, better, dear) == ("keep_prompt", "align_base", True), held


def test_a_better_model_never_leads_to_a_costlier_leaf(after: Grid) -> None:
    for worse, better, held in after.step("after_sft"):
        assert AFTER[better] <= AFTER[worse], held


def test_more_rows_never_lead_to_collecting_and_better_ones_never_to_mending(before: Grid) -> None:
    assert all(fewer == "collect_data" or more != "collect_data" for fewer, more, _ in before.step("usable_rows"))
    assert all(worse == "mend_data" or better != "mend_data" for worse, better, _ in before.step("quality"))


def test_higher_limits_never_take_training_away(before: Grid, after: Grid) -> None:
    for grid in (before, after):
        assert all(less not in TRAINS or less == more for less, more, _ in grid.step("cost"))


def test_a_surer_gain_never_leads_to_a_costlier_leaf(after: Grid) -> None:
    """Without any gain intervals are compared, which is another question; so from the second level on. To measure more
    is no end but the advice to look again, so what comes of it may cost more."""
    for worse, better, held in after.step("gain"):
        if held["gain"] is not None and worse != "measure_more":
            assert AFTER[better] <= AFTER[worse], held


def test_a_gate_that_refuses_less_never_leads_to_a_costlier_leaf(after: Grid) -> None:
    """Again but for the advice to look again: what is seen then may be worse."""
    for worse, better, held in after.step("verdict"):
        assert AFTER[better] <= AFTER[worse] or worse == "measure_more", held


def test_where_dpo_is_too_dear_the_curve_is_heard_before_the_task_is_thought_over(after: Grid) -> None:
    """The gate refused, the model could be optimised further, DPO is over the limits, and more rows would do."""
    reachable = after.at(after_sft=2, verdict=1, gain=3, align=1, rows_needed=2, cost=0)
    assert set(reachable) == {"collect_data"}
    assert set(after.at(after_sft=2, verdict=1, gain=3, align=1, rows_needed=1, cost=0)) == {"rethink"}


def test_what_the_spec_rules_out_is_never_chosen(before: Grid, after: Grid) -> None:
    assert not {"align_base"} & set(before.at(align=0))
    assert not {"align"} & set(after.at(align=0))
    assert not set(TRAINS) & set(before.at(cost=0))
    assert not {"sft"} & set(before.at(cost=1))
    assert not {"align"} & set(after.at(cost=0))
    assert not {"sft", "collect_data"} & set(before.at(new_pattern=2))
    assert not {"sft", "mend_data"} & set(before.at(quality=1, usable_rows=0))
