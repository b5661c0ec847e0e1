"""The quality classifier: it learns what the examples show, says how well, and refuses when it cannot."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from posttrain.data.steps import RowStep
from posttrain.data.steps.quality import Quality, area, probabilities, wilson
from posttrain.data.steps.quality_features import matrix
from posttrain.errors import DataError
from posttrain.spec.sections.quality import QualitySpec

GENERAL = Path(__file__).resolve().parents[2] / "data" / "general" / "train.jsonl.gz"
Example = tuple[str, str]


def answers(count: int, start: int = 0) -> list[Example]:
    """Real instructions with their answers."""
    with gzip.open(GENERAL, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    found = [(f"{row['instruction']}\n{row['input']}".strip(), row["output"]) for row in rows]
    return [row for row in found if len(row[1].split()) >= 12][start : start + count]


def shuffled(rows: Sequence[Example]) -> list[Example]:
    chance = random.Random(0)
    return [(prompt, " ".join(chance.sample(answer.split(), len(answer.split())))) for prompt, answer in rows]


def written(path: Path, rows: Sequence[Example]) -> str:
    lines = [json.dumps({"prompt": prompt, "completion": answer}) for prompt, answer in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.name


def batch(rows: Sequence[Example]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=["prompt", "completion"], orient="row")


def made(tmp_path: Path, good: Sequence[Example], bad: Sequence[Example], **settings: float) -> Quality:
    names = {"good": [written(tmp_path / "good.jsonl", good)], "bad": [written(tmp_path / "bad.jsonl", bad)]}
    return Quality.make(QualitySpec(**names, **settings), tmp_path, tmp_path / "store")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Quality:
    good = answers(150)
    return made(tmp_path_factory.mktemp("quality"), good, shuffled(good))


def test_it_finds_rows_like_the_bad_examples_and_few_others(step: Quality) -> None:
    assert isinstance(step, RowStep)
    unseen = answers(100, start=150)
    assert len(unseen) == 100
    lost, caught = (step.find(batch(rows)) for rows in (unseen, shuffled(unseen)))
    assert lost.filter(pl.col("verdict") == "drop").height <= 5
    assert caught.filter(pl.col("verdict") == "drop").height >= 60
    assert set(caught["verdict"]) == {"drop", "review"}


def test_findings_say_score_and_limit(step: Quality) -> None:
    rows = batch(shuffled(answers(30, start=150)))
    scores = probabilities(step.file, rows["prompt"], rows["completion"])
    for found in step.find(rows).to_dicts():
        limit = step.report.drop_below if found["verdict"] == "drop" else step.report.review_below
        assert scores[found["row"]] < limit
        assert found["value"] == f"quality {scores[found['row']]:.3f}"
        assert found["threshold"] == f"at least {limit:.3f}"


def test_a_row_has_the_same_score_in_any_batch(step: Quality) -> None:
    rows = batch([*answers(10), *shuffled(answers(10))])
    whole = probabilities(step.file, rows["prompt"], rows["completion"])
    single = [probabilities(step.file, row["prompt"], row["completion"])[0] for row in rows.iter_slices(1)]
    assert whole.tolist() == single


def test_json_and_code_are_not_judged(step: Quality) -> None:
    odd = ('{"b": 1, "a": [2]}', "```python\nprint('x')\n```", "x b a 2 1")
    found = step.find(batch([("What is it?", text) for text in odd]))
    assert found["row"].to_list() == [2]


def test_the_report_is_that_of_cross_validation(step: Quality) -> None:
    report = step.report
    assert (report.good, report.bad) == (150, 150)
    assert 0.9 < report.auc_low < report.auc < report.auc_high <= 1
    assert report.caught > 0.6
    assert report.precision_low < report.precision
    assert report.precision >= 0.97  # 1 % of the good ones are lost
    assert 0 < report.drop_below < report.review_below < 1


def test_limits_of_the_users_own_count(tmp_path: Path) -> None:
    good = answers(60)
    report = made(tmp_path, good, shuffled(good), drop_below=0.5, review_below=0.6).report
    assert (report.drop_below, report.review_below) == (0.5, 0.6)
    with pytest.raises(ValueError, match=r"review_below 0\.2 below drop_below 0\.5"):
        QualitySpec(good=["a"], bad=["b"], drop_below=0.5, review_below=0.2)


def test_the_classifier_is_kept_and_no_pickle(tmp_path: Path) -> None:
    good = answers(60)
    first = made(tmp_path, good, shuffled(good))
    stamp = Path(first.file).stat().st_mtime_ns
    assert made(tmp_path, good, shuffled(good)) == first
    assert Path(first.file).stat().st_mtime_ns == stamp
    with np.load(first.file, allow_pickle=False) as stored:
        assert sorted(stored) == ["intercept", "places", "weights"]
    assert made(tmp_path, answers(61), shuffled(good)).file != first.file
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no")
    with pytest.raises(DataError, match="is no classifier of ours"):
        replace(first, file=str(broken)).find(batch(good))


def test_too_few_examples_are_refused(tmp_path: Path) -> None:
    good = answers(60)
    with pytest.raises(DataError, match=r"curate\.quality\.bad: found 49 distinct examples"):
        made(tmp_path, good, [*shuffled(good)[:49], *good[:5]])  # five are on both sides


def test_examples_that_say_nothing_are_refused(tmp_path: Path) -> None:
    rows = answers(200)
    with pytest.raises(DataError, match=r"found an AUC of 0\.\d\d .* expected at least 0\.8"):
        made(tmp_path, rows[::2], rows[1::2])


def test_missing_examples_are_named_by_their_setting(tmp_path: Path) -> None:
    written(tmp_path / "good.jsonl", answers(60))
    spec = QualitySpec(good=["good.jsonl"], bad=["nowhere.jsonl"])
    with pytest.raises(DataError, match=r"nowhere\.jsonl: .*curate\.quality\.bad"):
        Quality.make(spec, tmp_path, tmp_path)


def test_the_features_see_ends_and_what_was_asked() -> None:
    answer = "Paris is the capital of France."
    prompts = pl.Series(["Name the capital of France", "Name the capital of Spain", "Name the capital of Spain"])
    asked, other, cut = matrix(prompts, pl.Series([answer, answer, answer.rstrip(".")])).toarray() > 0
    # Of name, capital, france the answer has two of three (3/4, rounded), of name, capital, spain one (1/4): one
    # feature each for the same words.
    assert (asked & ~other).sum() == (other & ~asked).sum() == 1
    # The stop goes, and with it two pairs (france ., . end); "france end" comes.
    assert (other & ~cut).sum() == 3
    assert (cut & ~other).sum() == 1


def test_area_and_its_interval_by_hand() -> None:
    # Pairs: 3 > 1, 3 > 2, 2 > 1, and 2 = 2 counts half: 3.5 of 4.
    auc, low, high = area(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    assert auc == 0.875
    # Hanley and McNeil: Q1 = 0.875 / 1.125 = 0.7778, Q2 = 2 x 0.7656 / 1.875 = 0.8167, variance
    # (0.1094 + 0.0122 + 0.0510) / 4 = 0.0432, margin 1.96 x 0.2077 = 0.407.
    assert low == pytest.approx(0.468, abs=1e-3)
    assert high == 1


def test_wilson_by_hand() -> None:
    # 8 of 10, z = 1.96: middle (8 + 1.9208) / 13.8416 = 0.7167; margin 1.96 / 13.8416 x root(1.6 + 0.9604) = 0.2266.
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert wilson(0, 0) == (0, 1)
