"""Prose: ROUGE-L, chrF and similarity in English and Chinese; numbers derived by hand or held to the known package."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from posttrain.evaluation.measure import score
from posttrain.evaluation.metrics import METRICS, Answer, row_values
from posttrain.evaluation.metrics.prose import common_subsequence

PAIRS = [
    ("The cat sat on the mat.", "the cat lay on the mat"),
    ("我今天去北京。", "今天我去北京"),
    ("Good morning", ""),
    ("", ""),
    ("naïve café", "naive cafe au lait"),
]


def value(metric: str, pairs: list[tuple[str, str]]) -> float:
    answers = [Answer("text", expected, output) for expected, output in pairs]
    return score(row_values(answers, [METRICS[metric]]), metric, 10, 0).value


def test_rouge_l_by_hand() -> None:
    """the cat … on the mat: 5 of 6 and 6 words; 今天去北京: 5 of 6 and 6 characters; nothing: 0; both empty: 1."""
    expected = [10 / 12, 10 / 12, 0, 1]
    for pair, rouge in zip(PAIRS, expected, strict=False):
        assert value("rouge_l", [pair]) == pytest.approx(rouge)
    assert value("rouge_l", PAIRS[:4]) == pytest.approx(sum(expected) / 4)


def test_the_longest_common_subsequence_is_that_of_trying_all() -> None:
    draw = random.Random(0)
    for _ in range(200):
        left, right = (draw.choices("abc", k=draw.randrange(7)) for _ in range(2))
        longest = next(
            size
            for size in range(len(left), -1, -1)
            if {tuple(c) for c in combinations(left, size)} & {tuple(c) for c in combinations(right, size)}
        )
        assert common_subsequence(left, right) == longest


def test_chrf_by_hand() -> None:
    """ab against abc: n = 1: 2 of 2 found, 2 of 3 wanted; n = 2: 1 of 1, 1 of 2; n = 3 is not in both.

    Precision 1, recall (2/3 + 1/2) / 2 = 7/12; F2 = 5 · 7/12 / (4 + 7/12) = 35/55.
    """
    assert value("chrf", [("abc", "a b")]) == pytest.approx(35 / 55)


def test_chrf_is_sacrebleus_over_all_rows() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    expected, outputs = zip(*PAIRS, strict=True)
    known = sacrebleu.corpus_chrf(list(outputs), [list(expected)]).score
    assert value("chrf", PAIRS) == pytest.approx(known / 100)
    for pair in PAIRS[:3]:
        assert value("chrf", [pair]) == pytest.approx(sacrebleu.sentence_chrf(pair[1], [pair[0]]).score / 100)


def test_similarity_sees_meaning_in_english_and_words_in_chinese() -> None:
    """The same text is 1, whatever the language; a paraphrase without a shared word is nearer than another subject."""
    same = value("semantic_similarity", [("Hello there", "Hello there"), ("你好，世界", "你好，世界")])
    assert same == pytest.approx(1, abs=2e-3)
    alike = value("semantic_similarity", [("The physician cured him", "A doctor healed the man")])
    other = value("semantic_similarity", [("The physician cured him", "Shares fell on Monday")])
    assert alike > other + 0.2
    # One word of the pair is Chinese: both are compared by their words, and share none.
    assert value("semantic_similarity", [("Hello there", "你好你好")]) == pytest.approx(0, abs=0.2)
    assert value("semantic_similarity", [("我喜欢北京", "我喜欢上海")]) > value(
        "semantic_similarity", [("我喜欢北京", "股价周一下跌")]
    )
