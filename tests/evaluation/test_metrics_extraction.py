"""Extraction: precision and recall of fields, schemas, grounding, and one style; numbers derived by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from posttrain.evaluation.measure import score
from posttrain.evaluation.metrics import METRICS, Answer, row_values
from posttrain.evaluation.metrics.grounding import values_in_input
from posttrain.evaluation.metrics.structured import built


def value(metric: str, pairs: list[tuple[str, str]], schema: dict[str, Any] | None = None) -> float:
    text = json.dumps(schema) if schema else ""
    answers = [Answer("extraction", expected, output, json_schema=text) for expected, output in pairs]
    return score(row_values(answers, [METRICS[metric]]), metric, 10, 0).value


def test_precision_and_recall_of_fields() -> None:
    """Row 1: right a, b; wanted c missed. Row 2: right a; invented x, y. TP 3, FP 2, FN 1."""
    pairs = [('{"a": 1, "b": 2, "c": 3}', '{"a": 1, "b": 2}'), ('{"a": 1}', '{"a": 1, "x": 0, "y": 0}')]
    assert value("field_precision", pairs) == pytest.approx(3 / 5)
    assert value("field_recall", pairs) == pytest.approx(3 / 4)
    assert value("field_f1", pairs) == pytest.approx(6 / 9)


@pytest.mark.parametrize(
    ("expected", "output", "precision", "recall"),
    [("{}", "{}", 1, 1), ('{"a": 1}', "no", 0, 0), ("{}", '{"a": 1}', 0, 0)],
)
def test_nothing_found_is_precise_only_where_there_is_nothing(
    expected: str, output: str, precision: int, recall: int
) -> None:
    assert value("field_precision", [(expected, output)]) == precision
    assert value("field_recall", [(expected, output)]) == recall


def test_schema_valid_wants_the_schema_and_no_prose() -> None:
    """The first and the fenced one match; a text for the age, an unknown key and prose around it do not: 2 of 5."""
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "additionalProperties": False}
    good = '{"age": 3}'
    outputs = [good, f"```json\n{good}\n```", '{"age": "3"}', '{"agee": 3}', f"Here: {good}"]
    assert value("schema_valid", [(good, output) for output in outputs], schema) == pytest.approx(2 / 5)
    assert value("valid_json", [(good, output) for output in outputs], schema) == pytest.approx(4 / 5)


def grounded(output: Any, prompt: str, system: str = "", schema: dict[str, Any] | None = None) -> tuple[Any, ...]:
    said = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    return values_in_input(Answer("extraction", "{}", said, prompt, system, json.dumps(schema) if schema else ""))


@pytest.mark.parametrize(
    ("value", "prompt"),
    [
        ("ANN Lee", "Her name is Ann  Lee."),
        ("Ｘｉ’ａｎ", "Xi’an"),
        (1000, "It cost 1,000 EUR"),
        ("1,000.50", "1000.5 EUR"),
        (1000.0, "1000"),
        ("张 伟", "我叫张伟，今年二十岁"),
        ("2019年", "毕业于２０１９ 年"),
        ("C++", "knows C++"),
        ("…", "nothing to look for"),
    ],
)
def test_case_blanks_width_and_number_formats_do_not_count(value: Any, prompt: str) -> None:
    found, asked = grounded({"a": value}, prompt)
    assert found == asked


@pytest.mark.parametrize(
    ("value", "prompt"),
    [("Ann", "Annual report"), (10, "1000"), (2019, "12019"), ("Lee Ann", "Ann Lee"), ("Bo", "Al"), ("王", "张伟")],
)
def test_what_is_not_there_is_invented(value: Any, prompt: str) -> None:
    assert grounded({"a": value}, prompt) == (0, 1)


def test_what_is_chosen_and_what_the_instruction_says_may_be_said() -> None:
    """Of seven leaves two had to stand in the input: Ann, who does, and Rome; EUR is the instruction's."""
    schema = {"properties": {"size": {"enum": ["small", "large"]}, "kind": {"const": "order"}}}
    answer = {
        "a": "Ann",
        "size": "large",
        "kind": "order",
        "ok": True,
        "n": None,
        "cur": "EUR",
        "city": "Rome",
        "e": "",
    }
    assert grounded(answer, "Ann buys one.", "Prices are in EUR.", schema) == (1, 2)
    assert grounded({"a": ["Ann", {"b": "Bo"}]}, "Ann", "") == (1, 2)
    assert grounded({"a": "Ann"}, "Ann", "such as Ann") == (1, 1)


def test_grounded_pools_values_and_an_unreadable_output_is_one_that_is_not() -> None:
    """2 of 2, 0 of 1 (no JSON), 0 of 0 (nothing said): 2 of 3."""
    prompt = "Ann and Bo"
    answers = [Answer("extraction", "{}", said, prompt) for said in ('["Ann", "Bo"]', "I cannot", "{}")]
    table = row_values(answers, [METRICS["grounded"]])
    assert score(table, "grounded", 10, 0).value == pytest.approx(2 / 3)
    assert [row["grounded"] for row in table] == [1, 0, 1]


def test_how_an_answer_is_built() -> None:
    assert built({"b": [1, 2.5], "a": None}) == "{a: null, b: [number]}"
    assert built([{"x": True}, {"x": False}, "y"]) == "[text, {x: boolean}]"


def test_style_consistency_is_the_share_built_in_the_commonest_way() -> None:
    """Two alike but for the order of keys and the values; text for a number; a key more; no JSON: 2 of 5."""
    outputs = ['{"a": 1, "b": "x"}', '{"b": "", "a": 2.5}', '{"a": "1", "b": "x"}', '{"a": 1, "b": "x", "c": 1}', "no"]
    assert value("style_consistency", [("{}", output) for output in outputs]) == pytest.approx(2 / 5)
    assert value("style_consistency", [("{}", "no"), ("{}", "nothing")]) == 0
