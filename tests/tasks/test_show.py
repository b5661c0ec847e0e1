"""What the Prefect UI is given: markdown in which rows cannot do anything but be read."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from posttrain.artifacts import DatasetRef
from posttrain.data.curate import CurateResult, FunnelStep
from posttrain.data.validate import RuleCount, ValidateResult
from posttrain.training.pairing import ASIDE, written
from posttrain.training.result import PairsResult
from tasks import show

REF = DatasetRef(uri="/w/rows.parquet", fingerprint="f" * 16, rows=1)
PAIRS = FunnelStep(step="length_bias", rows_in=4, rows_out=4, reason="chosen is longer in 75% of 4 pairs", examples=())
HOSTILE = "a.jsonl:1: <img src=x onerror=alert(1)> ![x](http://x.invalid/p.png) | *b* `c` | d"


@pytest.fixture
def validated() -> ValidateResult:
    counts = [("trimmed", "warn", 9), ("length", "quarantine", 2), ("encoding", "quarantine", 3)]
    rules = [
        {"rule": rule, "severity": severity, "rows": rows, "split": "train", "examples": (HOSTILE,)}
        for rule, severity, rows in counts
    ]
    given = dict.fromkeys(ValidateResult.model_fields, REF)
    given |= {"rules": rules, "rows_in": 15, "rows_out": 10, "data_docs": "/w/index.html"}
    return ValidateResult.model_construct(
        **given | {"rules": tuple(RuleCount.model_construct(**each) for each in rules)}
    )


@pytest.fixture
def curated() -> CurateResult:
    steps = (
        FunnelStep(step="harm", rows_in=10, rows_out=7, reason="words of a list", examples=(HOSTILE, "second")),
        FunnelStep(step="split", rows_in=7, rows_out=6, reason="1 row kept for validation", examples=()),
    )
    return CurateResult.model_construct(
        **dict.fromkeys(CurateResult.model_fields, REF)
        | {"funnel": steps, "agreement": None, "other_funnels": {"preference": (PAIRS,)}}
    )


def test_the_funnel_is_a_picture_a_table_and_examples(validated: ValidateResult, curated: CurateResult) -> None:
    text = show.funnel(curated, validated)
    assert "| preference | length_bias | 4 | 4 | chosen is longer in 75% of 4 pairs |" in text
    assert "| Validation | length | 15 | 13 | 2 set aside |" in text
    assert "| Validation | encoding | 13 | 10 | 3 set aside |" in text
    assert "| Curation | harm | 10 | 7 | 3 set aside | words of a list |" in text
    assert "| Curation | split | 7 | 6 | 1 kept for validation | 1 row kept for validation |" in text
    assert "**harm**\n\n- a.jsonl:1:" in text
    assert "\n- second" in text
    picture = re.search(r"^!\[15 rows read, 6 to train on[^]]*\]\(data:image/svg\+xml;base64,([^)]+)\)", text)
    assert picture
    assert base64.b64decode(picture[1]).startswith(b"<svg")


def test_pairs_are_told_with_what_was_set_aside(tmp_path: Path) -> None:
    gone = {"id": "1", "system": "", "prompt": "p" * 200, "chosen": "a", "rejected": "b", "margin": 0.05}
    aside = written([{**gone, "rule": "min_margin", "value": "margin 0.05"}], ASIDE, tmp_path / "x.parquet", tmp_path)
    made = PairsResult(
        pairs=REF, set_aside=aside, ranked_by="verifier", prompts=9, samples=4, kept=3, dropped={"min_margin": 6},
        mean_margin=0.5, chosen_characters=40, rejected_characters=30, chosen_longer=2 / 3, overlap=0.7, seconds=1,
    )  # fmt: skip
    text = show.pairs(made)
    assert "3 pairs, ranked by verifier: 40 characters chosen, 30 rejected, chosen the longer in 67% of those" in text
    assert "| min_margin | 6 |" in text
    assert "| overlap | 0.7 |" in text
    (row,) = show.set_aside(made)["set_aside"]
    assert (row["rule"], row["value"], len(str(row["prompt"]))) == ("min_margin", "margin 0.05", 100)
    assert show.pair_metrics(made)["dropped/min_margin"] == 6
    assert show.pair_metrics(made)["chosen_longer"] == pytest.approx(2 / 3)


def test_without_validation_the_funnel_begins_at_curation(curated: CurateResult) -> None:
    assert "![10 rows read, 6 to train on." in show.funnel(curated)


def test_rules_that_took_rows_come_first(validated: ValidateResult) -> None:
    text = show.validation(validated)
    assert text.startswith("**15** rows in, **10** out; ")
    assert [line.split(" | ")[0] for line in text.splitlines() if " | train | " in line] == [
        "| encoding", "| length", "| trimmed",
    ]  # fmt: skip


def test_rows_cannot_bring_markup_into_the_page(validated: ValidateResult, curated: CurateResult) -> None:
    for text in (show.funnel(curated, validated), show.validation(validated)):
        assert r"\<img src=x onerror=alert\(1\)\>" in text
        assert "<img" not in text.replace(r"\<img", "")
        assert "![x]" not in text
