"""The best of several completions of one prompt, by a reward function in TRL's shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from posttrain.data.engine import Local
from posttrain.data.synthetic.best_of import BestOf
from posttrain.data.synthetic.reward_file import load_reward
from posttrain.data.table import Table, TableWriter
from posttrain.errors import DataError

ROWS = pl.DataFrame(
    [
        ("a1", "f:1", "", "p", "3"),
        ("b1", "f:2", "", "q", "1"),
        ("a2", "f:3", "", "p", "7"),
        ("a3", "f:4", "", "p", "7"),
        ("b2", "f:5", "", "q", "none"),
        ("c1", "f:6", "other", "p", "0"),
    ],
    schema=["id", "source", "system", "prompt", "completion"],
    orient="row",
)


def number(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float | None]:
    """What the completion says; None where it says none."""
    return [None if said == "none" else float(said) for said in completions]


def table(rows: pl.DataFrame, folder: Path) -> Table:
    with TableWriter(folder / "rows.parquet", rows.columns) as writer:
        writer.write(rows)
    return Table(folder / "rows.parquet")


def lost(found: pl.DataFrame, rows: pl.DataFrame = ROWS) -> list[str]:
    return [rows["id"][row] for row in found["row"]]


def test_the_best_stays_and_of_equals_the_first() -> None:
    found = BestOf(number).among(ROWS)
    assert lost(found) == ["a1", "a3", "b2"]
    assert found["value"].to_list() == ["reward 3, the best 7", "reward 7, the best 7", "no reward"]
    assert found["twin"].to_list() == ["a2", "a2", "b1"]
    assert set(found["verdict"]) == {"drop"}


def test_several_may_stay_and_none_that_is_not_good_enough() -> None:
    assert lost(BestOf(number, keep=2).among(ROWS)) == ["a1", "b2"]
    found = BestOf(number, at_least=2).among(ROWS)
    assert lost(found) == ["a1", "b1", "a3", "b2", "c1"]
    assert found["threshold"][0] == "the best of its prompt, at least 2"
    assert found["twin"].to_list()[1] == "", "the best of its prompt has no better twin"


def test_a_table_gives_what_its_rows_give_whatever_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = pl.concat([ROWS.with_columns(id=pl.col("id") + f"-{n}") for n in range(7)])
    found = BestOf(number, keep=3).search(table(many, tmp_path), Local())
    assert found.equals(BestOf(number, keep=3).among(many))
    monkeypatch.setattr(Table.batches, "__defaults__", (None, 4))
    assert found.equals(BestOf(number, keep=3).search(table(many, tmp_path), Local()))


def test_rows_of_the_table_that_are_gone_do_not_count(tmp_path: Path) -> None:
    rest = table(ROWS, tmp_path).without([2])
    assert BestOf(number).search(rest, Local())["row"].to_list() == [0, 4]


def test_the_function_sees_the_columns_by_name() -> None:
    seen: dict[str, Any] = {}

    def reward(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        seen.update(columns, prompts=prompts, completions=completions)
        return [0.0] * len(prompts)

    BestOf(reward).among(ROWS.with_columns(expected=pl.lit("x")))
    assert set(seen) == {"prompts", "completions", "id", "source", "system", "expected"}
    assert seen["expected"] == ["x"] * 6


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return [1.0]", r"score.py: returned 1 rewards for 6 rows; return one for each"),
        ("return [float('nan')] * 6", r"score.py: returned nan for f:1, expected a finite number or None"),
        ("return ['good'] * 6", r"score.py: returned 'good' for f:1"),
        ("return 1 / 0", r"score.py: raised ZeroDivisionError \(division by zero\) at the rows from f:1"),
    ],
)
def test_a_function_that_goes_wrong(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "score.py").write_text(f"def score(prompts, completions, **columns):\n    {body}\n", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        BestOf(load_reward("score.py:score", tmp_path)).among(ROWS)


def test_a_file_is_loaded_from_inside_the_project_only(tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text(
        "def score(prompts, completions, **columns):\n    return [0.0] * len(prompts)\n", encoding="utf-8"
    )
    project = tmp_path / "project"
    project.mkdir()
    (project / "link.py").symlink_to(outside)
    for named in ("../outside.py:score", f"{outside}:score", "link.py:score"):
        with pytest.raises(DataError, match="lies outside the project"):
            load_reward(named, project)
    with pytest.raises(DataError, match=r"none.py: cannot be read"):
        load_reward("none.py:score", project)
    (project / "score.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"score.py: has no function score; correct the name"):
        load_reward("score.py:score", project)
    (project / "broken.py").write_text("def score(:\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"broken.py:1: .*; mend the file"):
        load_reward("broken.py:score", project)


def test_a_reward_file_travels_to_workers(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "score.py").write_text(
        "def score(prompts, completions, **columns):\n    return [len(said) for said in completions]\n",
        encoding="utf-8",
    )
    step = BestOf(load_reward("score.py:score", tmp_path))
    (tmp_path / "score.py").unlink()
    assert lost(pickle.loads(pickle.dumps(step)).among(ROWS)) == ["b1", "a2", "a3"]
