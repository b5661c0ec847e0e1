"""Classification: its completions are labels, so rules on prose leave them alone and contradictions are found."""

from __future__ import annotations

import polars as pl
import pytest

from posttrain.data.rules.prose import DistinctWordRatio, ProseLength
from posttrain.data.rules.table import OneLabel
from posttrain.data.validate.examine import styles

ROWS = pl.DataFrame({"prompt": ["Win a prize", "win a prize!", "Hello"], "completion": ["spam", "ham", "ham"]})


@pytest.mark.parametrize(
    ("kind", "short", "style"), [("classification", 0, "label"), ("text", 3, "prose"), ("verifiable", 3, "prose")]
)
def test_a_label_may_be_short(kind: str, short: int, style: str) -> None:
    assert ProseLength("completion", kind=kind).find(ROWS).height == short
    assert DistinctWordRatio("completion", kind=kind).find(ROWS).height == 0
    assert styles(ROWS, kind).unique().to_list() == [style]


@pytest.mark.parametrize(("kind", "found"), [("classification", 2), ("text", 0), ("verifiable", 0)])
def test_one_prompt_has_one_label(kind: str, found: int) -> None:
    rule = OneLabel("prompt", "completion", kind)
    assert len(rule.search(rule.sketch(ROWS))) == found
