"""The reward of online training: weights by update, every signal alone, and functions that return nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.errors import DataError
from posttrain.training.rewards import RewardTerm
from posttrain.training.signals import Signals

GOLD = '{"intent": "Play", "slots": {}}'


def test_a_signal_that_joins_later_is_logged_from_the_start() -> None:
    terms = (
        RewardTerm(name="verifier", weight=0.8),
        RewardTerm(name="length", weight=0.5, characters=10, from_share=0.5),
    )
    signals = Signals.of_terms(terms, "intent_slots", updates=4)
    texts = [GOLD, "x" * 15]  # the gold answer has 31 characters: over twice as long as is free; the other is halfway

    early, alone = signals.score(["play"] * 2, texts, 1, expected=[GOLD] * 2)
    late, same = signals.score(["play"] * 2, texts, 2, expected=[GOLD] * 2)

    assert alone == same == {"verifier": [1.0, 0.0], "length": [-1.0, -0.5]}
    assert early == pytest.approx([0.8, 0.0])
    assert late == pytest.approx([0.8 - 0.5, -0.25])


@pytest.mark.parametrize(("values", "said"), [([1.0], "found 1 values for 2"), ([1.0, float("nan")], "1 of them fin")])
def test_a_reward_that_is_no_number_is_refused_by_name(values: list[float], said: str) -> None:
    def broken(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        return values

    with pytest.raises(DataError, match=f"reward broken: .*{said}"):
        Signals([broken], lambda step: [1.0]).score(["a", "b"], ["c", "d"], 0)
