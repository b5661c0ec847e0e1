"""Accuracy, calibration and biases of a reward model, by numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from posttrain.evaluation.calibration import Reviewed, calibrate, ece, fit_temperature, probabilities, refit
from posttrain.evaluation.pairwise import Pairs, accuracy, bias_of, wilson


def test_a_tie_is_half_right() -> None:
    assert accuracy(np.array([1.0, 0.0, -1.0, 2.0]), list("abcd")).value == 0.625


def test_wilsons_interval() -> None:
    # 8 of 10: centre (0.8 + 3.8415/20) / 1.38415 = 0.7167, reach 1.96/1.38415 · √(0.016 + 3.8415/400) = 0.2266
    assert wilson(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(1.0, 4)[0] == pytest.approx(1 / (1 + 3.8415 / 4), abs=1e-4)


def test_pairs_of_one_prompt_count_as_one_where_they_stand_or_fall_together() -> None:
    margins = np.array([1.0, 1, 1, 1, -1, -1, 1, 1])
    each = accuracy(margins, list("abcdefgh"))
    together = accuracy(margins, list("aabbccdd"))

    # Sums of (hit - 0.75) by prompt: ½, ½, -3/2, ½, squares 3, over 8² and times 4/3 for the four prompts: 1/16. One
    # pair alone has a variance of 3/16, so that all eight are worth three. Apart: 8 · 3/16 / 8² · 8/7 gives seven.
    assert (together.low, together.high) == pytest.approx(wilson(0.75, 3))
    assert (each.low, each.high) == pytest.approx(wilson(0.75, 7))


def test_a_few_pairs_that_are_all_right_are_no_proof() -> None:
    assert accuracy(np.ones(30), ["one prompt"] * 30).low < 0.5
    assert accuracy(np.ones(3), list("abc")).low < 0.5
    assert accuracy(np.ones(30), [str(n) for n in range(30)]).low > 0.85


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4)), min_size=1, max_size=30))
@example([(1.0, 0), (0.0, 0), (-1.0, 0), (-1.0, 0), (-1.0, 0)])  # one prompt: a sum that rounding kept from 0
def test_accuracy_lies_in_its_interval_whatever_the_order(rows: list[tuple[float, int]]) -> None:
    found = accuracy(np.array([margin for margin, _ in rows]), [str(prompt) for _, prompt in rows])
    again = accuracy(np.array([margin for margin, _ in rows[::-1]]), [str(prompt) for _, prompt in rows[::-1]])

    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (again.value, again.low, again.high) == pytest.approx((found.value, found.low, found.high))


def test_expected_calibration_error() -> None:
    # sigmoid(ln 4) = 0.8: three of four such preferences are right, 0.05 off; sigmoid(ln 19) = 0.95: the one is right,
    # 0.05 off. They lie in two bins, of 4/5 and 1/5 of the pairs.
    margins = np.log([4.0, 4, 4, 4, 19]) * [1, -1, 1, 1, 1]
    assert ece(margins) == pytest.approx(0.05)
    assert ece(np.zeros(3)) == 0, "undecided, and half right"


def test_the_temperature_makes_sure_what_was_too_sure() -> None:
    # Three of four are right whatever the margin of 4: sigmoid(4/T) = 3/4, so T = 4 / ln 3
    margins = np.array([4.0, 4, 4, -4] * 5)
    assert fit_temperature(margins) == pytest.approx(4 / math.log(3), rel=1e-3)

    found = calibrate(margins, [str(n // 4) for n in range(20)])
    assert found.ece == pytest.approx(1 / (1 + math.exp(-4)) - 0.75)
    assert found.ece_scaled == pytest.approx(0, abs=1e-3), "every prompt has the same four"


def test_a_temperature_stays_finite() -> None:
    assert fit_temperature(np.array([1.0, 2.0])) == pytest.approx(0.02, rel=0.1)
    assert fit_temperature(np.array([-1.0, -2.0])) == pytest.approx(50, rel=0.1)


def test_length_language_and_position_are_reported() -> None:
    english, chinese = "The quick brown fox jumps over the lazy dog. ", "今天天气很好，我们一起去公园散步吧。"
    pairs = Pairs(
        prompts=list("abcd"),
        chosen=[english * 2, english, chinese * 2, english],
        rejected=[english, english * 3, chinese, english + "x"],
        chosen_scores=np.array([2.0, 1.0, 2.0, 0.0]),
        rejected_scores=np.array([1.0, 3.0, 1.0, 1.0]),
    )

    report = bias_of(pairs, np.array([1.0, -2.0, 1.0, 1.0]))

    found = {part.name: (part.pairs, part.accuracy and part.accuracy.value) for part in report.slices}
    assert found == {
        "chosen longer": (2, 1.0),  # the first and the third
        "chosen shorter": (2, 0.0),
        "length matched": (1, 0.0),  # the fourth, one character apart
        "en": (3, 1 / 3),
        "zh": (1, 1.0),
        "other language": (0, None),
    }
    assert report.prefers_longer == 1.0
    assert report.people_prefer_longer == 0.5
    assert report.length_correlation > 0.4
    assert report.position_flips == 1


def test_reviewed_pairs_move_the_probabilities_to_what_people_say() -> None:
    # The policy's answer comes first, and the model gives it 2 more each time; people prefer it in half the cases.
    overrated = [Reviewed(first=2, second=0, better=better) for better in ("first", "second") for _ in range(50)]
    # Between others it is right three times in four at a margin of 2.
    others = [Reviewed(first=1, second=3, better=better) for better in ("second",) * 75 + ("first",) * 25]

    found = refit([*overrated, *others])

    # sigmoid(2 s + o) = 1/2 and sigmoid(-2 s + o) = 1/4: s = ln 3 / 4 and o = -ln 3 / 2
    assert (1 / found.temperature, found.offset) == pytest.approx((math.log(3) / 4, -math.log(3) / 2), rel=0.02)
    assert found.loss_after < found.loss_before
    assert probabilities(np.array([2.0, -2.0]), found.temperature, found.offset) == pytest.approx([0.5, 0.25], abs=0.01)
    with pytest.raises(ValueError, match="no reviewed pair"):
        refit([])


def test_people_who_always_agree_change_no_more_than_they_can_show() -> None:
    found = refit([Reviewed(first=1, second=0, better="first")])
    assert 0.02 <= found.temperature <= 1
    assert math.isfinite(found.offset)
