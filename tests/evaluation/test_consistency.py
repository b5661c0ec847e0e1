"""Pairs of answers to one row: which agree."""

from __future__ import annotations

from posttrain.evaluation.consistency import compared, metrics, paraphrased
from posttrain.evaluation.measure import score
from posttrain.prompts import messages

ROW = {"id": "1", "prompt": "p", "completion": "c"}


def test_pairs_are_counted_by_answer_wrapper_and_style() -> None:
    """Four answers, six pairs. By answer: the first two agree (1). By wrapper: bare with bare (1), for the third is in
    prose and the fourth has no JSON. By style: the first three are {a: number} (3)."""
    answers = ['{"a": 1}', '{"a": 1.0}', 'Here: {"a": 2}', "no"]
    (row,) = compared("extraction", [ROW], [answers])
    assert (row["answers_agree"], row["wrappers_agree"], row["styles_agree"], row["answer_pairs"]) == (1, 1, 3, 6)
    assert row["output"] == '{"a": 1}'
    assert score([row], "consistency", 20, 0).value == 1 / 6
    assert score([row], "style_agreement", 20, 0).value == 3 / 6
    assert metrics("extraction") == ("consistency", "wrapper_agreement", "style_agreement")


def test_a_label_has_neither_wrapper_nor_style() -> None:
    (row,) = compared("classification", [ROW], [["Good.", "good", "bad"]])
    assert (row["answers_agree"], row["answer_pairs"]) == (1, 3)
    assert "wrappers_agree" not in row
    assert metrics("classification") == ("consistency",)


def test_a_paraphrase_stands_in_for_the_instruction_or_wraps_it() -> None:
    turns = messages("To JSON.", "play jazz")
    assert paraphrased(turns, "As JSON, please.")[0]["content"] == "As JSON, please."
    assert paraphrased(turns, "Hello! {instruction}")[0]["content"] == "Hello! To JSON."
    assert paraphrased(messages("", "play jazz"), "As JSON.") == messages("As JSON.", "play jazz")
    assert paraphrased(turns, "x")[1:] == turns[1:]
