"""The whole decision space, walked by hypothesis. What must hold of every piece of evidence:

1. no dead end: `decide` always ends in a leaf of its step, with a reason in words and a way through the chart;
2. no contradiction:
   - `use_prompt` if and only if the prompt meets all targets (and there are some), asked plainly, step by step or by a
     vote; `use_few_shot` if and only if none of these does and worked examples do; either names the cheapest prompting
     that is enough;
   - `release` and `measure_more` after a gate that cannot tell never with a missed target, `release` never past a gate
     that did not pass; `align`, `align_base` never when `strategy.align` is never;
   - no rung that trains over the limits, with too few rows for SFT, or on data that is not fit;
   - `rethink` never for the only reason that a gate had too few rows;
   - the chosen rung is not among the alternatives, and every alternative says why not;
3. monotone, all else equal:
   - better scores never lead to a costlier leaf (order below), before training or after it;
   - more rows never lead from training back to `collect_data`; higher limits never from training back to advice;
   - a larger bad share never leads from `mend_data` to training;
4. without any of the newer evidence (preferences, quality, costs, slices, curve) only the leaves of before are reached.

The order of leaves by what they cost the user: prompting is free; then DPO alone, then SFT; collecting or mending rows
is dearest, since training comes on top. After SFT: release, measuring again, DPO (or keeping a model that misses a
target), collecting rows, and last the task itself.
"""

from __future__ import annotations

from typing import get_args

import pytest
from decisions import AFTER, BEFORE, check, scored
from hypothesis import example, given, settings
from hypothesis import strategies as st

from posttrain.evaluation.learning_curve import RowsNeeded
from posttrain.evaluation.scores import Gain, Score, Scores
from posttrain.gates import Verdict
from posttrain.strategy import Decision, Evidence, Limits, Quality, decide
from posttrain.strategy.conditions import is_enough, is_fit, lagging
from posttrain.strategy.decision import MEANING, Action
from posttrain.strategy.spending import too_dear
from posttrain.strategy.words import shortfalls

METRICS = ("slot_f1", "intent_accuracy", "valid_json", "perplexity")
EXAMPLES = 50
"""Of each property; the strategy was written against 1,500."""

share = st.integers(0, 20).map(lambda n: n / 20)
values = st.fixed_dictionaries(
    {"slot_f1": share, "intent_accuracy": share, "valid_json": share},
    optional={"perplexity": st.integers(2, 40).map(float)},
)


targets = st.dictionaries(st.sampled_from(METRICS), share.filter(bool), max_size=3).map(
    lambda found: found | ({"perplexity": 20 * found["perplexity"]} if "perplexity" in found else {})
)
limits = st.builds(
    Limits,
    max_minutes=st.none() | st.sampled_from([5.0, 60.0, 500.0]),
    max_cost=st.none() | st.sampled_from([0.5, 5.0]),
    price_per_hour=st.none() | st.just(2.0),
    max_bad_share=st.sampled_from([0.1, 0.5, 1.0]),
)
seconds = st.just({}) | st.fixed_dictionaries(
    {
        "align_base": st.sampled_from([60.0, 1200.0, 9000.0]),
        "sft": st.sampled_from([60.0, 1200.0, 9000.0]),
        "align": st.sampled_from([9500.0, 20000.0]),
    }
)
common = {
    "kind": st.just("intent_slots"),
    "targets": targets,
    "usable_rows": st.sampled_from([0, 50, 199, 200, 5000]),
    "align": st.sampled_from(["auto", "always", "never"]),
    "new_pattern": st.sampled_from(["auto", "auto", "yes", "no"]),
    "preferences": st.sampled_from([None, "people", "verifier", "none"]),
    "quality": st.none() | st.builds(Quality, rows=st.just(100), bad=st.integers(0, 100).map(lambda n: {"harm": n})),
    "seconds": seconds,
    "limits": limits,
    "zero_shot": values.map(scored),
    "few_shot": st.none() | values.map(lambda found: scored(found, "few-shot")),
    "step_by_step": st.none() | values.map(lambda found: scored(found, "step-by-step")),
    "self_consistency": st.none() | values.map(lambda found: scored(found, "self-consistency")),
}


checks = st.lists(
    st.builds(check, st.sampled_from(METRICS), st.sampled_from(["passed", "refused", "too_few_rows"])), max_size=2
)
verdicts = st.none() | checks.map(lambda found: Verdict(name="after_sft", checks=tuple(found), summary="x"))
gains = st.none() | st.sampled_from([-0.1, 0.0, 0.05, 0.3]).map(
    lambda low: Gain(value=low + 0.05, low=low, high=low + 0.1, p_value=0.2, detectable=0.1, rows=200)
)
needed = st.none() | st.sampled_from(
    ["met", "reachable", "not_begun", "flat", "noisy", "above_ceiling", "too_far"]
).map(
    lambda answer: RowsNeeded(
        metric="slot_f1",
        target=0.8,
        answer=answer,
        tried=500,
        rows=900 if answer == "reachable" else None,
        low=None,
        high=None,
        words="curve",
    )
)
trained = st.builds(
    lambda whole, part: scored(whole, slices={"colloquial": scored(part)} if part else {}), values, st.none() | values
)
before = st.builds(lambda **found: Evidence(step="baseline", **found), **common)
after = st.builds(
    lambda **found: Evidence(step="after_sft", **found),
    **common,
    after_sft=trained,
    verdict=verdicts,
    gain=gains,
    rows_needed=needed,
)
evidence = before | after
many = settings(max_examples=EXAMPLES, deadline=None, derandomize=True)


def missed(found: Scores | None, wanted: dict[str, float]) -> bool:
    return found is None or any(shortfalls(found, wanted))


@given(evidence)
@many
@example(
    Evidence(
        step="baseline",
        kind="intent_slots",
        targets={},
        usable_rows=200,
        new_pattern="no",
        preferences="verifier",
        quality=Quality(rows=100, bad={"harm": 51}),
        zero_shot=scored({}),
    )
)
def test_no_dead_end(found: Evidence) -> None:
    decision = decide(found)
    leaves = BEFORE if found.step == "baseline" else AFTER
    assert decision.action in leaves
    assert decision.reasons
    assert all(reason.strip() for reason in decision.reasons)
    assert decision.path
    assert all(turn.question.endswith("?") and turn.answer for turn in decision.path)
    assert decision.action not in {other.action for other in decision.alternatives}
    assert all(other.why_not for other in decision.alternatives), decision
    assert decide(found) == decision
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def test_every_leaf_has_words_and_a_rank() -> None:
    assert set(MEANING) == set(get_args(Action)) == BEFORE.keys() | AFTER.keys()


@given(before)
@many
def test_prompting_is_chosen_exactly_when_it_meets_the_targets(found: Evidence) -> None:
    decision = decide(found)
    asked = {
        "zero-shot": found.zero_shot,
        "step-by-step": found.step_by_step,
        "self-consistency": found.self_consistency,
    }
    asked["few-shot"] = found.few_shot
    enough = [name for name, scores in asked.items() if found.targets and not missed(scores, found.targets)]
    first = enough[0] if enough else ""
    assert (decision.action == "use_prompt") == (first not in ("", "few-shot"))
    assert (decision.action == "use_few_shot") == (first == "few-shot")
    assert decision.prompting == (first or found.best.prompting)


@given(before)
@many
def test_what_trains_is_allowed_affordable_and_has_rows(found: Evidence) -> None:
    action = decide(found).action
    if action == "sft":
        assert is_enough(found)[0]
        assert is_fit(found)[0]
        assert not too_dear(found, "sft")
    if action == "align_base":
        assert found.align != "never"
        assert found.preferences in ("people", "verifier")
        assert not too_dear(found, "align_base")
    if action == "collect_data":
        assert found.usable_rows < found.min_rows
        rows = decide(found).rows
        assert rows is not None
        assert rows >= found.min_rows - found.usable_rows
    if action == "mend_data":
        assert not is_fit(found)[0]


@given(after)
@many
def test_after_sft_no_leaf_contradicts_what_was_measured(found: Evidence) -> None:
    action = decide(found).action
    bad = missed(found.after_sft, found.targets)
    outcome = found.verdict.outcome if found.verdict else "passed"
    if action == "release":
        assert not bad
        assert outcome == "passed"
        assert found.align != "always" or too_dear(found, "align")
        assert not lagging(found) or found.align == "never" or too_dear(found, "align")
    if action == "align":
        assert found.align != "never"
        assert not too_dear(found, "align")
        assert bad or outcome == "refused" or found.align == "always" or lagging(found)
    if action in ("rethink", "keep_sft"):
        assert bad or outcome == "refused"
    if action == "keep_sft":
        assert too_dear(found, "align")
        assert outcome != "refused"
    if action == "measure_more":
        assert outcome == "too_few_rows"
    if action == "collect_data":
        assert found.rows_needed is not None
        assert found.rows_needed.answer == "reachable"


# --- monotone ----------------------------------------------------------------------------------------------


def better(found: Scores | None, by: float) -> Scores | None:
    """The same scores, each better; intervals move along."""
    if found is None:
        return None

    def moved(name: str, score: Score) -> Score:
        step = -20 * by if name == "perplexity" else by
        return Score(value=score.value + step, low=score.low + step, high=score.high + step)

    metrics = {name: moved(name, score) for name, score in found.metrics.items()}
    parts = {name: better(part, by) for name, part in found.slices.items()}
    return found.model_copy(update={"metrics": metrics, "slices": parts})


PROMPTINGS = ("zero_shot", "few_shot", "step_by_step", "self_consistency")


@given(before, st.sampled_from([0.05, 0.2, 0.5]), st.sampled_from([*PROMPTINGS, "all"]))
@many
def test_better_prompting_never_leads_to_a_costlier_rung(found: Evidence, by: float, whose: str) -> None:
    names = PROMPTINGS if whose == "all" else (whose,)
    improved = found.model_copy(update={name: better(getattr(found, name), by) for name in names})
    first, then = decide(found).action, decide(improved).action
    if first == "keep_prompt" and too_dear(found, "sft"):
        return  # SFT was wanted and over the limits; DPO alone may be within them
    assert BEFORE[then] <= BEFORE[first], (first, then)


@given(after, st.sampled_from([0.05, 0.2, 0.5]))
@many
def test_a_better_model_never_leads_to_a_costlier_leaf(found: Evidence, by: float) -> None:
    improved = found.model_copy(update={"after_sft": better(found.after_sft, by)})
    first, then = decide(found).action, decide(improved).action
    assert AFTER[then] <= AFTER[first], (first, then)


@given(before, st.integers(0, 10000))
@many
def test_more_rows_never_lead_back_to_collecting(found: Evidence, more: int) -> None:
    richer = found.model_copy(update={"usable_rows": found.usable_rows + more})
    if decide(found).action != "collect_data":
        assert decide(richer).action != "collect_data"


@given(evidence)
@many
def test_higher_limits_never_lead_from_training_to_advice(found: Evidence) -> None:
    free = found.model_copy(update={"limits": Limits(price_per_hour=2.0, max_bad_share=1.0)})
    first, then = decide(found).action, decide(free).action
    trains = ("sft", "align_base", "align")
    assert then == first or first not in trains
    if first == "keep_sft":
        assert then == "align"


@given(before)
@many
def test_worse_data_never_leads_from_mending_to_training(found: Evidence) -> None:
    worse = found.model_copy(update={"quality": Quality(rows=100, bad={"harm": 100})})
    if decide(found).action == "mend_data":
        assert decide(worse.model_copy(update={"limits": found.limits})).action in ("mend_data",) or (
            found.limits.max_bad_share == 1.0
        )


NEWER = (
    "step_by_step",
    "self_consistency",
    "preferences",
    "new_pattern",
    "quality",
    "seconds",
    "limits",
    "rows_needed",
)


@given(evidence)
@many
@example(Evidence(step="baseline", kind="text", targets={}, usable_rows=0, zero_shot=scored({})))
def test_without_newer_evidence_only_the_leaves_of_before_are_reached(found: Evidence) -> None:
    known = found.model_dump(exclude=set(NEWER))
    if known["after_sft"]:
        known["after_sft"]["slices"] = {}
    action = decide(Evidence.model_validate(known)).action
    leaves = {"use_prompt", "use_few_shot", "collect_data", "sft", "release", "align", "rethink"}
    unsure = found.verdict is not None and found.verdict.outcome == "too_few_rows"
    assert action in leaves | ({"measure_more"} if unsure else set())


def test_rethinking_is_not_asked_for_because_rows_were_too_few() -> None:
    """All that speaks against the model is a gate that could not tell, and a gain that the same rows cannot show."""
    gain = Gain(value=0.04, low=-0.01, high=0.09, p_value=0.2, detectable=0.1, rows=200)
    verdict = Verdict(name="after_sft", checks=(check("slot_f1", "too_few_rows"),), summary="x")
    found = Evidence(
        step="after_sft",
        kind="intent_slots",
        targets={"slot_f1": 0.8},
        usable_rows=500,
        zero_shot=scored({"slot_f1": 0.5, "valid_json": 1.0}),
        after_sft=scored({"slot_f1": 0.6, "valid_json": 1.0}),
        gain=gain,
        verdict=verdict,
    )
    decision = decide(found)
    assert (decision.action, decision.rows) == ("measure_more", 900)
    assert any("some 900 rows" in reason for reason in decision.reasons)


@pytest.mark.parametrize("rung", ["sft", "align_base"])
def test_a_rung_that_is_too_dear_becomes_advice_with_its_cost(rung: str) -> None:
    near = {"slot_f1": 0.78, "intent_accuracy": 0.9, "valid_json": 1.0}
    poor = {"slot_f1": 0.1, "intent_accuracy": 0.1, "valid_json": 0.1}
    found = Evidence(
        step="baseline",
        kind="intent_slots",
        targets={"slot_f1": 0.8},
        usable_rows=5000,
        preferences="verifier",
        seconds={"align_base": 3600, "sft": 7200, "align": 10800},
        limits=Limits(max_minutes=30, price_per_hour=3),
        zero_shot=scored(poor if rung == "sft" else near),
    )
    decision = decide(found)
    assert decision.action == "keep_prompt"
    assert "strategy.max_minutes allows 30 min 00 s" in decision.reasons[-1]
    (other,) = [other for other in decision.alternatives if other.action == rung]
    assert (other.minutes, other.money) == ((120.0, 6.0) if rung == "sft" else (60.0, 3.0))
    assert decide(found.model_copy(update={"limits": Limits()})).action == rung
