"""The annotator filter: one smallest row for each reason, and what must not trip it."""

from __future__ import annotations

import json

import polars as pl
import pytest

from posttrain.data.steps.annotators import Annotators
from posttrain.errors import DataError
from posttrain.spec.sections.annotators import AnnotatorsSpec


def rated(*ratings: float, people: str = "abcdefgh") -> str:
    return json.dumps([{"annotator": who, "rating": what} for who, what in zip(people, ratings, strict=False)])


def found(*texts: str, **spec: object) -> list[tuple[int, str, str, str]]:
    rows = pl.DataFrame({"source": [f"x:{n}" for n in range(len(texts))], "ratings": texts})
    step = Annotators(AnnotatorsSpec.model_validate(spec))
    return step.find(rows).select("row", "verdict", "value", "threshold").rows()


def test_each_reason_and_the_first_of_several() -> None:
    assert found(
        rated(4, 4, 4),
        rated(3, 4, 4),  # 11 / 3 = 3.67
        rated(5, 5),
        rated(1, 2),  # too few, too, but low first
        rated(5, 5, 2),  # 12 / 3 = 4.0 is enough; 3 apart is not
        "",
        rated(5, 5, 5, people="aab"),  # two people
    ) == [
        (1, "drop", "mean 3.67 (3, 4, 4)", "at least 4"),
        (2, "review", "2 annotators (5, 5)", "at least 3"),
        (3, "drop", "mean 1.5 (1, 2)", "at least 4"),
        (4, "review", "3 apart (5, 5, 2)", "at most 2 apart"),
        (6, "review", "2 annotators (5, 5, 5)", "at least 3"),
    ]


def test_settings_decide() -> None:
    assert found(rated(5), too_few="drop") == [(0, "drop", "1 annotator (5)", "at least 3")]
    assert found(rated(5), too_few="keep") == []
    assert found(rated(5, 5, 2), max_range=None) == []
    assert found(rated(7, 8, 8), min_mean=8, max_range=5) == [(0, "drop", "mean 7.67 (7, 8, 8)", "at least 8")]
    assert found(rated(4), min_annotators=1) == []
    assert found(rated(3.9, 4.1, 3.9, 4.1)) == []  # 4, whatever binary fractions make of it


def test_rows_without_ratings_are_none_of_its_business() -> None:
    assert Annotators().find(pl.DataFrame({"source": ["x"], "prompt": ["a"]})).height == 0
    assert found("", "[]", "null", " ") == []
    assert found("") == []


def test_the_batch_does_not_matter() -> None:
    texts = [rated(n % 5 + 1, 5, 5) for n in range(50)]
    whole = [(at, verdict) for at, verdict, *_ in found(*texts)]
    apart = [(at + start, verdict) for start in range(0, 50, 7) for at, verdict, *_ in found(*texts[start : start + 7])]
    assert whole == apart


@pytest.mark.parametrize("bad", ["4", "{", '[{"annotator": "a", "rating": [4]}]', '{"a": 4}'])
def test_what_is_no_list_of_ratings_names_its_row(bad: str) -> None:
    with pytest.raises(DataError, match=r"x:1: found ratings .* expected a list such as"):
        found(rated(4, 4, 4), bad)


def test_the_reason_tells_the_settings() -> None:
    assert Annotators().reason == "mean rating below 4, or fewer than 3 annotators, or ratings more than 2 apart"
    assert Annotators(AnnotatorsSpec(too_few="keep", max_range=None)).reason == "mean rating below 4"
