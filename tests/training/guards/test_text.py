"""What a batch of completions comes to, in numbers worked out by hand."""

from __future__ import annotations

import pytest

from posttrain.training.guards import text


def test_a_batch_in_numbers() -> None:
    found = text.measure(["p", "q"], ["a b a b", "a b c"], opening_words=2)

    # pairs with the beginning: ^a ab ba ab | ^a ab bc → 4 distinct of 7; both open with "a b"; a 3, b 3, c 1 of 7 words
    assert found["distinct_2"] == pytest.approx(4 / 7)
    assert found["openings"] == 1.0
    assert found["words"] == 3.5
    assert found["word_entropy"] == pytest.approx(1.4488, abs=1e-4)  # 2 · 3/7 · log2(7/3) + 1/7 · log2 7


def test_answers_to_one_prompt_may_open_alike() -> None:
    # four completions, two a prompt: of the 4 pairs across prompts none opens alike
    found = text.measure(["p", "p", "q", "q"], ["yes it is", "yes it was", "no it is", "no it was"], 2)

    assert found["openings"] == 0.0
    assert text.measure(["p", "p", "q", "q"], ["yes"] * 4, 2)["openings"] == 1.0
    # without prompts all six pairs count: two of them are alike
    assert text.measure([], ["yes a", "yes a", "no a", "no a"], 2)["openings"] == pytest.approx(2 / 6)


def test_chinese_is_counted_by_characters() -> None:
    found = text.measure(["甲", "乙"], ["今天天气很好", "今天很冷"], opening_words=2)

    assert found["words"] == 5.0
    assert found["openings"] == 1.0
    # ^今 今天 天天 天气 气很 很好 | ^今 今天 天很 很冷 → 8 distinct of 10
    assert found["distinct_2"] == pytest.approx(8 / 10)
    assert text.measure(["p", "q"], ["是", "是"], 2)["distinct_2"] == 1 / 2


def test_words_are_counted_once_a_completion() -> None:
    shares = text.common_words(["very very good", "good", "Bad", "good!"])

    assert shares == {"good": 0.75, "bad": 0.25, "very": 0.25}
    assert text.measure([], [], 4) == {}
