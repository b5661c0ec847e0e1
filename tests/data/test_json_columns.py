"""JSON columns: a bad text is null, and its neighbours are what they are."""

from __future__ import annotations

import polars as pl
import pytest

from posttrain.data.text.json_columns import decoded

SHAPE = pl.List(pl.Struct({"role": pl.String}))


@pytest.mark.parametrize(
    "bad", ["", " ", "null", "{}", "7", "[1]", "[],[]", '[{"role": "a"}', '{"role": "b"}]', "[" * 9000 + "]" * 9000]
)
def test_a_bad_text_is_null_wherever_it_stands(bad: str) -> None:
    for texts in ([bad], [bad, '[{"role": "u"}]', "[]"], ["[]", bad, '[{"role": "u"}]', bad]):
        found = decoded(pl.Series(texts), SHAPE).to_list()
        assert found == [{"[]": [], '[{"role": "u"}]': [{"role": "u"}]}.get(text) for text in texts]


def test_two_halves_of_a_list_do_not_become_one() -> None:
    texts = ['[{"role": "a", "x": [[1]', "[2]]}]", "[],[]", '[{"role": "u"}]']
    assert decoded(pl.Series(texts), SHAPE).to_list()[-1] == [{"role": "u"}]


def test_no_texts() -> None:
    assert decoded(pl.Series([], dtype=pl.String), SHAPE).to_list() == []
