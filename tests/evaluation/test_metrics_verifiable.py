"""Final answers: numbers as people and models write them.

The solutions are of GSM8K (Cobbe et al. 2021, github.com/openai/grade-school-math, MIT licence).
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from posttrain.evaluation.final_answer import Number, final_number, same
from posttrain.evaluation.measure import score
from posttrain.evaluation.metrics import METRICS, Answer, row_values

NATALIA = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n#### 72"
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (NATALIA, 72),
        (NATALIA.removesuffix("#### 72"), 72),
        ("#### 1,000", 1000),
        ("#### -3\nThat is 5 less.", -3),
        ("It is 1000.0 in all.", 1000),
        ("The answer is 5 + 3 = 8. I used 2 numbers.", 8),
        ("The answer is 42, since 6 times 7 is 42, not 41", 42),
        ("The answer to question 3 is: **12** apples", 12),
        ("To answer this, count 5. So 7.", 7),
        ("**Answer:** $1,234.50", Fraction(2469, 2)),
        ("so -$5", -5),
        ("temperature: −7", -7),
        ("10-5", 5),
        (r"\boxed{\frac{3}{4}}", Fraction(3, 4)),
        (r"thus $\boxed{1{,}000}$", 1000),
        ("1 1/2 cups", Fraction(3, 2)),
        ("1½ cups", Fraction(3, 2)),
        ("2.5 million people", 2_500_000),
        ("1e3", 1000),
        ("所以答案是 1，000 元。一共用了 3 步。", 1000),
        ("答案：１２", 12),
        ("答：一共 12 个苹果", 12),
        ("答案是三十五个", 35),
        ("共三千零五人", 3005),
        ("一亿二千万", 120_000_000),
        ("约 3.5万 元", 35_000),
        ("四分之三", Fraction(3, 4)),
        ("#### 1 000", 1000),
        ("It costs 12 345 678 kr in all", 12_345_678),
        ("1 234,56 €", Fraction(123456, 100)),
        ("1\u202f234,5", Fraction(12345, 10)),
        ("in 2019 300 came", 300),
        ("1 1/2", Fraction(3, 2)),
        ("give 100 200 50", 50),
        ("1,5", Fraction(3, 2)),
        ("#### 1,50", Fraction(3, 2)),
        ("so it is 1,5.", Fraction(3, 2)),
        ("The answer is 1,5, not 2", Fraction(3, 2)),
        ("1,500", 1500),
        ("1,500.5", Fraction(3001, 2)),
        ("0,500", Fraction(1, 2)),
        ("0,125 kg", Fraction(1, 8)),
        ("1234,567", Fraction(1_234_567, 1000)),
        ("3,1416", Fraction(31416, 10_000)),
        ("1.500,25", Fraction(150_025, 100)),
        ("1.500.000", 1_500_000),
        ("1.500", Fraction(3, 2)),
        (r"\boxed{1{,}5}", Fraction(3, 2)),
        ("1,2,3", 3),
        ("(3,4)", 4),
        ("(-3,4)", 4),
        (r"the set \{3,4\}", 4),
        ("1,5 million", 1_500_000),
        ("12,5%", Fraction(25, 2)),
        ("有1，5和7", 7),
        ("得到 1，5", 5),
        ("增长了三点五", Fraction(7, 2)),
    ],
)
def test_the_number_that_an_answer_ends_in(text: str, value: Fraction | int) -> None:
    found = final_number(text)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize("text", ["", "I do not know", "3/0", "1" * 100, "我们一起去"])
def test_what_holds_no_number(text: str) -> None:
    assert final_number(text) is None


def test_percents_equal_their_share_and_their_plain_number() -> None:
    half, fifty, percent = Number(Fraction(1, 2)), Number(Fraction(50)), Number(Fraction(50), percent=True)
    assert same(percent, fifty)
    assert same(half, percent)
    assert same(percent, percent)
    assert not same(half, fifty)
    assert not same(Number(Fraction(1, 2), percent=True), percent)
    assert final_number("about 50%") == percent
    assert final_number("百分之五十") == half


def test_final_answer_is_the_share_of_right_rows() -> None:
    """Right, wrong, none: 1 of 3; a row whose completion has no number can never be right."""
    answers = [Answer("verifiable", NATALIA, said) for said in ("It is 72.0", "#### 71", "none")]
    table = row_values(answers, [METRICS["final_answer"]])
    assert score(table, "final_answer", 10, 0).value == pytest.approx(1 / 3)
    assert row_values([Answer("verifiable", "none", "none")], [METRICS["final_answer"]])[0]["final_answer"] == 0
