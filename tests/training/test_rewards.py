"""The mixed reward: every signal by numbers worked out by hand, the mixture, and the curriculum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posttrain.artifacts import ModelRef
from posttrain.errors import DataError, ModelError, SpecError
from posttrain.spec import RewardsSpec, RewardTerm
from posttrain.spec.sections.harm import HarmSpec
from posttrain.training.result import CurvePoint
from posttrain.training.rewards import FIVE, RewardModel, functions, mixed, one_by_one, start, terms_of, weights_at
from posttrain.training.rewards.curriculum import additions, change_of
from posttrain.training.rewards.penalties import kl_of, length_of, repeated_openings, repetition_of
from posttrain.training.rewards.safety import safety_of

GOLD = '{"intent": "Play", "slots": {"artist": "blur"}}'


def asked(reward: Any, completions: list[Any], **columns: Any) -> list[float]:
    found: list[float] = reward(["a prompt"] * len(completions), completions, **columns)
    return found


def test_kl_costs_a_twentieth_a_nat() -> None:
    # -0.05 · 2 = -0.1; 20 nats reach -1, and 60 no more; an estimate below 0 is not cut off
    assert asked(kl_of(), ["a"] * 5, kl=[0.0, 2.0, 20.0, 60.0, -4.0]) == pytest.approx([0, -0.1, -1, -1, 0.2])
    assert asked(kl_of(-0.1), ["a"], kl=[2.0]) == pytest.approx([-0.2])


def test_length_is_free_up_to_500_characters() -> None:
    # (750 - 500) / 500 = 0.5; a conversation's turns count like plain text
    texts = ["", "x" * 500, "x" * 750, "x" * 1000, "x" * 9000, [{"role": "assistant", "content": "x" * 750}]]
    assert asked(length_of(), texts) == [0, 0, -0.5, -1, -1, -0.5]
    assert asked(length_of(10), ["x" * 15]) == [-0.5]


def test_repetition_counts_words_and_openings() -> None:
    openings = "We do like you. We do like me. We do like them. They do not."
    texts = [
        "go " * 8,  # runs of four: 5, one of them distinct: 1 - 1/5 = 0.8; one sentence; 0.8 / 2
        "The cat sat. The dog ran. A bird flew.",  # no run comes back, no opening either
        openings,  # 15 words, 12 runs of four, all distinct; 4 sentences, 2 openings: 2/4; 0.5 / 2
        '{"a": "go go go go go go go go"}',  # JSON
        "",
    ]
    assert asked(repetition_of(), texts) == pytest.approx([-0.4, 0, -0.25, 0, 0])
    assert repeated_openings("Yes. Yes.") == 0, "two sentences are no pattern"
    assert repeated_openings("我喜欢猫。我喜欢狗。我喜欢鸟。你不喜欢。") == pytest.approx(0.5)


def test_code_may_repeat_itself_where_code_is_asked_for() -> None:
    code = "```\n" + "import os\n" * 8 + "```"
    assert asked(repetition_of(), [code])[0] < -0.3
    assert asked(repetition_of(spare_code=True), [code]) == [0]


def test_safety_is_a_small_bonus_or_a_large_penalty(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("kaboom\n")
    lists = HarmSpec(word_lists=["own.txt"])
    texts = ["Sunny.", "kaboom", "I am sorry, but kaboom."]

    assert asked(safety_of(lists=lists, root=tmp_path), texts) == [0.1, -1, -1]
    assert asked(safety_of(0.2, 0.5, lists, tmp_path), texts) == [0.2, -0.5, -0.5]
    with pytest.raises(DataError, match=r"none\.txt"):
        safety_of(lists=HarmSpec(word_lists=["none.txt"]), root=tmp_path)


TEXTS = st.lists(st.text(max_size=300) | st.sampled_from(["go go go go " * 200, GOLD, "你好。" * 30]), max_size=6)


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.randoms())
def test_signals_are_bounded_deterministic_and_blind_to_company(texts: list[str], chance: Any) -> None:
    kl = [chance.uniform(-1e6, 1e6) for _ in texts]
    order = chance.sample(range(len(texts)), len(texts))
    for term in FIVE[1:]:
        (signal,), _ = functions([term], "text")
        values = asked(signal, texts, kl=kl)
        assert all(-1 <= value <= 1 for value in values)
        shuffled = asked(signal, [texts[place] for place in order], kl=[kl[place] for place in order])
        assert shuffled == [values[place] for place in order]


def test_the_five_of_s3() -> None:
    terms = terms_of(RewardsSpec(), "intent_slots", reward_model=True)

    assert {term.name: term.weight for term in terms} == {
        "preference": 0.6, "kl": 0.2, "length": 0.05, "repetition": 0.05, "safety": 0.1
    }  # fmt: skip
    assert sum(term.weight for term in terms) == pytest.approx(1)


def test_without_a_reward_model_the_verifier_takes_its_share() -> None:
    terms = terms_of(RewardsSpec(), "intent_slots", reward_model=False)
    rewards, weights = functions(terms, "intent_slots")

    assert [reward.__name__ for reward in rewards] == ["verifier", "kl", "length", "repetition", "safety"]
    signals = [
        reward(["p"] * 2, [GOLD, "blah " * 200], expected=[GOLD] * 2, kl=[2.0, 0.0], trainer_state=None)
        for reward in rewards
    ]
    # right: 0.6 · 1 - 0.2 · 0.1 + 0.1 · 0.1; wrong: 1,000 characters cost 0.05; 200 words are cut into 4 windows of
    # 50 runs at most, one of them distinct; safe all the same
    assert mixed(weights, signals)[0] == pytest.approx(0.6 - 0.02 + 0.01)
    assert mixed(weights, signals)[1] == pytest.approx(-0.05 - 0.05 * 0.5 + 0.01, abs=0.001)
    with pytest.raises(SpecError, match=r"chat, which has no verifier.*data\.preference"):
        terms_of(RewardsSpec(), "chat", reward_model=False)


def judge(passed: bool) -> RewardModel:
    model = ModelRef(base="rm", fingerprint="")
    return RewardModel(model=model, mean=0, std=1, max_length=64, passed=passed)


def test_a_reward_model_that_was_refused_rewards_nothing() -> None:
    with pytest.raises(ModelError, match=r"rm: .*refused by its gate"):
        functions(FIVE, "text", judge(passed=False))
    with pytest.raises(SpecError, match="there is none"):
        functions(FIVE, "text")


def test_one_signal_joins_after_the_other() -> None:
    terms = one_by_one(FIVE)

    assert [start(term, 100) for term in terms] == [0, 20, 40, 60, 80]
    assert [start(term, 7) for term in terms] == [0, 2, 3, 5, 6]
    assert weights_at(terms, 0, 100) == [0.6, 0, 0, 0, 0]
    assert weights_at(terms, 60, 100) == [0.6, 0.2, 0.05, 0.05, 0]
    assert weights_at(terms, 99, 100) == [term.weight for term in FIVE]
    late = RewardTerm(name="safety", weight=0.1, from_step=3)
    assert [weights_at([late], step, 10) for step in (2, 3)] == [[0], [0.1]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"signals": [{"name": "kl", "weight": 1, "characters": 9}]}, "kl has no characters, .*of length"),
        ({"signals": [{"name": "kl", "weight": 1}, {"name": "kl", "weight": 1}]}, "kl is there twice"),
        ({"signals": [{"name": "kl", "weight": 1, "from_step": 3, "from_share": 0.1}]}, "keep one of them"),
        ({"signals": [{"name": "kl", "weight": 1, "from_step": 3}]}, "no signal counts from the first"),
        (
            {
                "signals": [{"name": "kl", "weight": 1}, {"name": "length", "weight": 1, "from_step": 3}],
                "curriculum": "one_by_one",
            },
            "so does length",
        ),
    ],
)
def test_signals_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardsSpec.model_validate(wrong)


def curve(*stretches: tuple[float, float]) -> list[CurvePoint]:
    """Ten updates of each (verifier, kl): the mean, and ±0.01 in turn."""
    return [
        CurvePoint(
            step=number,
            metrics={
                f"rewards/{name}/mean": mean + 0.01 * (-1) ** number
                for name, mean in zip(("verifier", "kl"), pair, strict=True)
            },
        )
        for number, pair in enumerate((pair for pair in stretches for _ in range(10)), 1)
    ]


TWO = [RewardTerm(name="verifier", weight=0.6), RewardTerm(name="kl", weight=0.2, from_step=10)]


@pytest.mark.parametrize(("then", "outcome"), [(0.5, "held"), (0.7, "held"), (0.47, "held"), (0.3, "hurt")])
def test_an_added_signal_is_judged_by_those_before_it(then: float, outcome: str) -> None:
    (found,) = additions(curve((0.5, -0.1), (then, -0.1)), TWO, 20, 0.05)

    assert (found.added, found.step, found.signal, found.outcome) == ("kl", 10, "verifier", outcome)
    assert (found.before, found.after) == pytest.approx((0.5, then))
    assert (found.low or 0) <= then - 0.5 <= (found.high or 0) + 1e-9


def test_too_short_or_too_wild_a_curve_tells_nothing() -> None:
    (short,) = additions(curve((0.5, 0))[:3], TWO, 20, 0.05)
    assert (short.outcome, short.before) == ("cannot tell", None)

    wild = [CurvePoint(step=n, metrics={"rewards/verifier/mean": 0.5 + 0.4 * (-1) ** (n // 2)}) for n in range(1, 21)]
    (found,) = additions(wild, TWO, 20, 0.05)
    assert found.outcome == "cannot tell"


def test_each_addition_is_judged_before_the_next() -> None:
    three = [*TWO, RewardTerm(name="length", weight=0.05, from_step=20)]

    found = additions(curve((0.5, -0.1), (0.5, -0.1), (0.3, -0.1)), three, 30, 0.05)

    assert [(one.added, one.signal, one.outcome) for one in found] == [
        ("kl", "verifier", "held"), ("length", "verifier", "hurt"), ("length", "kl", "held")
    ]  # fmt: skip


def test_the_interval_is_welchs_and_wider_where_neighbours_are_alike() -> None:
    # Neighbours that take turns are not alike, so all count. Means 0 and 1, variances 4/3, error √(1/3 + 1/3),
    # 6 degrees of freedom: t = 2.4469
    change, low, high = change_of([-1, 1, -1, 1], [0, 2, 0, 2])
    assert (change, low, high) == pytest.approx((1, 1 - 2.4469 * 0.8165, 1 + 2.4469 * 0.8165), abs=1e-3)

    alike = change_of([-1, -1, 1, 1], [0, 0, 2, 2])
    assert alike[0] == 1
    assert alike[1] < low
    assert change_of([1, 1, 1, 1], [1, 1, 1, 1]) == (0, 0, 0)


def test_terms_survive_the_way_to_another_process() -> None:
    assert [RewardTerm.model_validate(json.loads(term.model_dump_json())) for term in FIVE] == list(FIVE)
