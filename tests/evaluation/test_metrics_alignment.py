"""BERTScore: greedy matching by hand, and the embedder's own tokens."""

from __future__ import annotations

import numpy as np
import pytest

from posttrain.data.embedding.token_vectors import token_vectors
from posttrain.evaluation.measure import score
from posttrain.evaluation.metrics import METRICS, Answer, names, row_values
from posttrain.evaluation.metrics.alignment import greedy


def found(output: str, expected: str) -> dict[str, float]:
    (row,) = row_values([Answer("text", expected, output)], [METRICS["bertscore_f1"]])
    return {name: float(value) for name, value in row.items()}


def test_greedy_matching_by_hand() -> None:
    """Two tokens said, three wanted. Best of each row: .9, .4, so P = .65; of each column: .9, .4, .2, so R = .5.

    F1 = 2 · .65 · .5 / 1.15.
    """
    precision, recall, f1 = greedy(np.array([[0.9, 0.1, 0.2], [0.3, 0.4, -0.5]]))
    assert (precision, recall) == pytest.approx((0.65, 0.5))
    assert f1 == pytest.approx(0.65 / 1.15)
    assert greedy(np.zeros((0, 0))) == (1, 1, 1)
    assert greedy(np.zeros((0, 2))) == (0, 0, 0)


def test_words_in_chinese_by_hand() -> None:
    """我爱北京 against 我在北京: three of four characters each way."""
    assert found("我爱北京", "我在北京") == pytest.approx(
        {"bertscore_precision": 0.75, "bertscore_recall": 0.75, "bertscore_f1": 0.75}
    )
    assert found("", "你好")["bertscore_f1"] == 0
    assert found("Hello", "你好")["bertscore_f1"] == 0


def test_a_paraphrase_is_nearer_than_another_subject_and_half_an_answer_lacks_recall() -> None:
    same = found("The doctor healed the man.", "The doctor healed the man.")
    assert same["bertscore_f1"] == pytest.approx(1, abs=1e-5)
    alike = found("A physician cured him.", "The doctor healed the man.")["bertscore_f1"]
    other = found("Shares fell on Monday.", "The doctor healed the man.")["bertscore_f1"]
    assert other + 0.15 < alike < 1
    half = found("The doctor healed the man.", "The doctor healed the man. Then he drove home to his two children.")
    assert half["bertscore_recall"] < half["bertscore_precision"]


def test_a_text_has_a_vector_for_each_token_whatever_is_beside_it() -> None:
    """ "hello world" is two tokens; [CLS] and [SEP] do not count."""
    alone, beside = token_vectors(["hello world"]), token_vectors(["a much longer text " * 9, "hello world", ""])
    assert alone[0].shape == (2, 384)
    assert np.linalg.norm(alone[0], axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert beside[1] == pytest.approx(alone[0], abs=1e-4)
    assert beside[2].shape == (0, 384)


def test_it_is_measured_where_it_is_asked_for() -> None:
    assert "bertscore_f1" not in names("text")
    assert "bertscore_f1" in names("text", requested=("bertscore_f1",))
    answers = [Answer("text", "a cat", said) for said in ("a cat", "一")]
    assert score(row_values(answers, [METRICS["bertscore_f1"]]), "bertscore_f1", 10, 0).value == pytest.approx(
        0.5, abs=1e-5
    )
