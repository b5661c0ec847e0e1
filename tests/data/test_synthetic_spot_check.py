"""The sample of synthetic rows that people look at, and what their verdicts mean for the rest."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from posttrain.data.engine import Local
from posttrain.data.steps import RowStep, TableStep
from posttrain.data.synthetic.spot_check import SpotCheck, interval, judge
from posttrain.data.table import Table, TableWriter
from posttrain.spec.sections.synthetic import SpotCheckSpec


def rows(count: int, origin: str = "synthetic", teacher: str = "big") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [f"{teacher}{n}" for n in range(count)],
            "source": [f"teacher:{teacher}#{n}" for n in range(count)],
            "system": [""] * count,
            "prompt": [f"prompt {n}" for n in range(count)],
            "completion": [f"completion {n} by {teacher}" for n in range(count)],
            "origin": [origin] * count,
            "teacher": [teacher] * count,
        }
    )


def verdicts(step: SpotCheck, given: pl.DataFrame) -> dict[str, str]:
    found = step.find(given)
    return {given["id"][row]: verdict for row, verdict in zip(found["row"], found["verdict"], strict=True)}


def drawn(step: SpotCheck, given: pl.DataFrame) -> list[str]:
    return [row for row, verdict in verdicts(step, given).items() if verdict == "review"]


def test_thirty_per_cent_of_the_synthetic_rows_wait() -> None:
    """30 % of 2,000 are 600; three standard deviations are 61."""
    step = SpotCheck(SpotCheckSpec())
    assert isinstance(step, RowStep)
    assert isinstance(step, TableStep)
    assert 539 <= len(drawn(step, rows(2000))) <= 661
    assert drawn(step, rows(200, origin="")) == drawn(step, rows(200, origin="augmented")) == []
    assert step.find(rows(20).drop("origin")).height == 0
    found = step.find(rows(200))
    assert set(found["threshold"].filter(found["verdict"] == "review")) == {"30% of the synthetic rows are looked at"}


def test_the_sample_depends_on_what_rows_say_alone() -> None:
    step, given = SpotCheck(SpotCheckSpec()), rows(300)
    texts = set(given.filter(pl.col("id").is_in(drawn(step, given)))["completion"])
    renamed = given.with_columns(id="x" + pl.col("id"), source=pl.lit("elsewhere")).reverse()
    assert set(renamed.filter(pl.col("id").is_in(drawn(step, renamed)))["completion"]) == texts
    assert set(drawn(SpotCheck(SpotCheckSpec(seed=1)), given)) != set(drawn(step, given))
    assert set(drawn(SpotCheck(SpotCheckSpec(share=0.1)), given)) < set(drawn(step, given))


def test_a_table_gives_what_its_rows_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = rows(100)
    with TableWriter(tmp_path / "rows.parquet", given.columns) as writer:
        writer.write(given)
    monkeypatch.setattr(Table.batches, "__defaults__", (None, 7))
    table = Table(tmp_path / "rows.parquet").without([0, 1, 2])
    step = SpotCheck(SpotCheckSpec())
    expected = step.find(given).filter(pl.col("row") > 2)
    assert step.search(table, Local()).equals(expected)


def test_the_interval_is_wilsons() -> None:
    """0 of 35: 1.96² / (35 + 1.96²) = 3.8415 / 38.8415 = 0.0989. 10 of 100: the centre is
    (0.1 + 0.019207) / 1.038415 = 0.114797, and half the width
    sqrt(0.09 × 0.038415 + 0.038415² / 4) / 1.038415 = 0.059568."""
    assert interval(0, 35) == pytest.approx((0.0, 0.0989), abs=1e-4)
    assert interval(10, 100) == pytest.approx((0.05523, 0.17437), abs=1e-4)
    assert interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("rejected", "looked_at", "rest"),
    [(0, 0, "undecided"), (0, 34, "undecided"), (0, 35, "keep"), (10, 100, "undecided"), (20, 100, "drop")],
)
def test_what_the_sample_says_of_the_rest(rejected: int, looked_at: int, rest: str) -> None:
    """With at most 10 % rejected allowed: 0 of 34 may still be 10.2 %, 20 of 100 are at least 13.3 %."""
    assert judge(rejected, looked_at, 0.10).rest == rest


def test_until_somebody_has_looked_the_rest_goes_on_with_a_warning_or_waits() -> None:
    given = rows(100)
    kept = verdicts(SpotCheck(SpotCheckSpec()), given)
    assert set(kept.values()) == {"review", "warn"}
    assert len(kept) == 100
    assert set(verdicts(SpotCheck(SpotCheckSpec(undecided="hold")), given).values()) == {"review"}
    found = SpotCheck(SpotCheckSpec()).find(given).filter(pl.col("verdict") == "warn")
    assert set(found["value"]) == {"nobody has looked at the sample yet"}
    assert verdicts(SpotCheck(SpotCheckSpec(share=0.0)), given) == {}


def test_verdicts_on_the_sample_decide_on_the_rest_teacher_by_teacher() -> None:
    """Of 200 rows a teacher some 60 are drawn. All of `good`'s are accepted, so is every second of `poor`'s."""
    given = pl.concat([rows(200, teacher="good"), rows(200, teacher="poor"), rows(200, teacher="new")])
    blank = SpotCheck(SpotCheckSpec())
    sample = drawn(blank, given)
    said = {row: not (row.startswith("poor") and at % 2) for at, row in enumerate(sample) if not row.startswith("new")}
    step = blank.with_verdicts(said, given)
    assert [step.judgments[name].rest for name in ("good", "poor")] == ["keep", "drop"]
    after = verdicts(step, given)
    assert [row for row in after if row.startswith("good")] == []
    poor = [row for row in given["id"] if row.startswith("poor")]
    accepted = {row for row, word in said.items() if word}
    assert {row for row in poor if row not in accepted} == {row for row in after if row.startswith("poor")}
    assert {after[row] for row in poor if row in after} == {"drop"}
    assert {after[row] for row in after if row.startswith("new")} == {"review", "warn"}
    assert "poor: " in step.reason
    assert "rejected (" in step.reason
