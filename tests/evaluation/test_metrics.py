"""Each metric on the smallest rows that tell it from its neighbours; numbers derived by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from posttrain.evaluation.measure import score
from posttrain.evaluation.metrics import KINDS, MAIN, METRICS, Answer, fields, names, row_values, verify
from posttrain.spec import metrics as spec_metrics


def label(intent: str, **slots: Any) -> str:
    return json.dumps({"intent": intent, "slots": slots})


def value(metric: str, kind: str, pairs: Sequence[tuple[str, str]]) -> float:
    answers = [Answer(kind, expected, output) for expected, output in pairs]
    return score(row_values(answers, [METRICS[metric]]), metric, 10, 0).value


def test_slot_f1_pools_pairs_over_rows() -> None:
    """Row 1: 1 right, 1 wrong value (FP and FN). Row 2: 1 right, 1 missed. Row 3: unreadable, 1 missed.

    TP 2, FP 1, FN 3: F1 = 4 / (4 + 1 + 3) = 0.5. The mean of the rows' own F1 would be (1/2 + 2/3 + 0) / 3 = 0.39.
    """
    pairs = [
        (label("A", artist="Sade", year="1992"), label("A", artist="Sade", year="1993")),
        (label("A", artist="Sade", year="1992"), label("B", artist="Sade")),
        (label("A", artist="Sade"), "not json"),
    ]
    assert value("slot_f1", "intent_slots", pairs) == pytest.approx(0.5)
    assert value("intent_accuracy", "intent_slots", pairs) == pytest.approx(1 / 3)
    assert value("exact_match", "intent_slots", pairs) == 0
    assert value("valid_json", "intent_slots", pairs) == pytest.approx(2 / 3)


def test_nothing_to_find_and_nothing_found_is_perfect_and_adds_nothing() -> None:
    empty = (label("A"), label("A"))
    assert value("slot_f1", "intent_slots", [empty]) == 1.0
    # TP 0, FN 1 from the second row alone: the empty row must not lift it.
    assert value("slot_f1", "intent_slots", [empty, (label("A", x="1"), label("A"))]) == 0.0
    # An invented slot where there is none: FP 1.
    assert value("slot_f1", "intent_slots", [(label("A"), label("A", x="1"))]) == 0.0


def test_a_slot_with_several_values_counts_each_once() -> None:
    """Wanted {a, b}, found {a, a}: one hit; the second a is false, b is missed: F1 = 2 / (2 + 1 + 1)."""
    pair = (label("A", x=["a", "b"]), label("A", x=["a", "a"]))
    assert value("slot_f1", "intent_slots", [pair]) == pytest.approx(0.5)
    assert value("slot_f1", "intent_slots", [(label("A", x="a"), label("A", x=["a"]))]) == 1.0


def test_exact_match_is_equality_of_json_not_of_text() -> None:
    assert value("exact_match", "extraction", [('{"a": 1, "b": 2}', '```\n{"b":2,"a":1}\n```')]) == 1
    assert value("exact_match", "extraction", [('{"a": 1}', '{"a": true}')]) == 0
    assert value("exact_match", "extraction", [('{"a": [1, 2]}', '{"a": [2, 1]}')]) == 0
    assert value("exact_match", "text", [("Yes.", " Yes.\n"), ("Yes.", "yes.")]) == 0.5


@pytest.mark.parametrize(
    "output",
    [
        '{"intent": "A"}',
        '{"intent": "A", "slots": {}, "extra": 1}',
        '{"intent": 1, "slots": {}}',
        '{"intent": "A", "slots": []}',
        '{"intent": "A", "slots": {"x": 1}}',
        '{"intent": "A", "slots": {"x": {"y": "z"}}}',
        '[{"intent": "A", "slots": {}}]',
        'Sure: {"intent": "A", "slots": {}}',
    ],
)
def test_valid_json_wants_the_shape_and_no_prose(output: str) -> None:
    assert value("valid_json", "intent_slots", [(label("A"), output)]) == 0


def test_wrapper_consistency_is_the_share_of_the_commonest_wrapper() -> None:
    """Three bare, one fenced, one in prose, one without JSON: 3 / 6."""
    good = label("A")
    outputs = [good, good, good, f"```json\n{good}\n```", f"Well: {good}", "no"]
    assert value("wrapper_consistency", "intent_slots", [(good, output) for output in outputs]) == 0.5
    assert value("wrapper_consistency", "intent_slots", [(good, "no"), (good, "nothing")]) == 0.0


def test_field_f1_reads_nested_json_and_ignores_the_order_of_lists() -> None:
    wanted = {"name": "Li", "skills": ["sql", "go"], "school": {"city": "Xi'an", "year": 2019}, "email": None}
    assert sorted(fields(wanted)) == [
        ("name", "Li"),
        ("school.city", "Xi'an"),
        ("school.year", "2019"),
        ("skills[]", "go"),
        ("skills[]", "sql"),
    ]
    found = {"name": "Li", "skills": ["go", "sql"], "school": {"city": "Beijing"}}
    # TP 3 (name, two skills), FP 1 (Beijing), FN 2 (Xi'an, 2019): 6 / (6 + 1 + 2).
    assert value("field_f1", "extraction", [(json.dumps(wanted), json.dumps(found))]) == pytest.approx(6 / 9)


def test_token_f1_is_the_mean_of_the_rows() -> None:
    """Row 1: {the, cat} against {the, dog}: 2 / (2 + 1 + 1) = 0.5. Row 2: both empty: 1."""
    assert value("token_f1", "text", [("The cat", "the dog!"), ("", "")]) == pytest.approx(0.75)


def test_token_f1_sees_chinese_characters() -> None:
    """Four of five characters on either side, and no blank anywhere."""
    assert value("token_f1", "text", [("今天天气好", "今天天气差")]) == pytest.approx(0.8)


def test_odd_outputs_are_scored_not_crashed_on() -> None:
    for output in ('{"intent": ["A"], "slots": {"x": [null, 7, {"y": []}]}}', "[]", '{"slots": 3}', "\ufffd\x00"):
        answer = Answer("intent_slots", label("A", x="1"), output)
        (values,) = row_values([answer], [METRICS[name] for name in names("intent_slots")])
        assert values["intent_accuracy"] == 0
        assert values["slot_f1"] == 0


def test_the_verifier_ranks_valid_json_first_then_intent_then_slots() -> None:
    expected = label("A", x="1", y="2")
    outputs = ["x: 1", label("B", z="1"), label("A", z="1"), label("A", x="1"), expected]
    ranks = [verify("intent_slots", expected, output) for output in outputs]
    # One of two slots: F1 = 2 / (2 + 0 + 1) = 2/3, so 0.4 + 0.6 × 2/3 = 0.8.
    assert ranks == pytest.approx([0.0, 0.2, 0.4, 0.8, 1.0])


def test_the_verifier_of_the_other_kinds() -> None:
    """One of two fields wanted, none invented: F1 = 2 / (2 + 0 + 1), so 0.4 + 0.6 × 2/3 = 0.8."""
    assert verify("extraction", '{"a": 1, "b": 2}', '{"a": 1}') == pytest.approx(0.8)
    assert verify("extraction", '{"a": 1}', "a is 1") == 0
    assert [verify("classification", "spam", said) for said in ("Spam.", "ham")] == [1, 0]
    assert [verify("verifiable", "#### 1,000", said) for said in ("so 1000", "so 999")] == [1, 0]
    assert verify("text", "the cat", "the dog") == pytest.approx(0.5)


def test_every_kind_has_metrics_and_a_main_one() -> None:
    for kind in KINDS:
        assert MAIN[kind] in names(kind)


def test_the_spec_knows_the_same_metrics() -> None:
    assert {name: set(kinds) for name, kinds in spec_metrics.METRICS.items()} == {
        name: set(metric.kinds) for name, metric in METRICS.items()
    }
