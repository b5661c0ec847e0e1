"""Diverse rows: as many as wanted, far apart, the odd ones out not first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from posttrain.data.embedding.vectors import VectorFile
from posttrain.data.engine import Local
from posttrain.data.steps import TableStep, diversity
from posttrain.data.steps.diversity import Diverse, farthest, select
from posttrain.data.table import Table, TableWriter
from posttrain.spec.sections.diversity import DiversitySpec

WEATHER = ["weather in Rome today", "weather in Rome tomorrow", "weather in Rome", "weather today in Rome"]
MUSIC = ["play a song by Noir", "play the song by Noir"]


def table(tmp_path: Path, prompts: list[str], **columns: list[str]) -> Table:
    rows = {"id": [f"r{at}" for at in range(len(prompts))], "prompt": prompts, **columns}
    with TableWriter(tmp_path / "rows.parquet", list(rows)) as writer:
        writer.write(pl.DataFrame(rows))
    return Table(tmp_path / "rows.parquet")


def kept(rows: Table, spec: DiversitySpec) -> list[int]:
    dropped = Diverse(spec).search(rows, Local())["row"].to_list()
    return [int(row) for row in rows.positions if row not in dropped]


def spec(rows: int) -> DiversitySpec:
    return DiversitySpec(rows=rows, model="lexical")


def circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)


def test_every_sort_of_prompt_keeps_a_row(tmp_path: Path) -> None:
    rows = table(tmp_path, [*WEATHER, *MUSIC])
    step = Diverse(spec(2))
    assert isinstance(step, TableStep)
    found = step.search(rows, Local())
    left = kept(rows, spec(2))
    assert [row < len(WEATHER) for row in left] == [True, False]
    twins = dict(zip(found["row"].to_list(), found["twin"].to_list(), strict=True))
    assert {twins[row] for row in twins if row < 4} == {f"r{left[0]}"}
    assert {twins[row] for row in twins if row >= 4} == {f"r{left[1]}"}
    assert found["threshold"].unique().to_list() == ["among the 2 most diverse"]
    assert found["value"].str.contains(r"^0\.\d\d like row r\d$").all()


def test_there_are_as_many_rows_as_wanted(tmp_path: Path) -> None:
    rows = table(tmp_path, [*WEATHER, *MUSIC, *WEATHER])
    for count in range(1, 11):
        assert len(kept(rows, spec(count))) == count
    assert len(kept(rows.without([0, 1]), spec(3))) == 3
    assert Diverse(spec(10)).search(rows, Local()).height == 0


def test_rows_are_taken_by_their_distance_from_all_that_were_taken() -> None:
    # On a circle, at 0, 20, 80, 170 degrees. The mean cosine with the others says which has most like it:
    # 0: (0.940 + 0.174 - 0.985) / 3 = 0.04; 20: (0.940 + 0.500 - 0.866) / 3 = 0.19; 80: (0.174 + 0.500 + 0) / 3 = 0.22;
    # 170: -0.62. So 80 is first. From there it is farthest to 170 (chord 2 sin 45 = 1.414), and nearly as far (at least
    # 0.8 of that, 1.131) to 0 (2 sin 40 = 1.286), which has more like it; to 20 it is 1. Then 170, at last 20, which
    # is 20 degrees from 0 (2 sin 10 = 0.347). Distances never rise.
    order, distances = farthest(circle(0, 20, 80, 170), np.zeros(4))
    assert order.tolist() == [2, 0, 3, 1]
    assert distances == pytest.approx([2, 1.2856, 1.2856, 0.3473], abs=1e-3)


def test_of_rows_about_as_far_the_best_is_taken(tmp_path: Path) -> None:
    best = farthest(circle(0, 1, 90, 91), np.array([1, 5, 2, 3]))[0]
    assert best[:2].tolist() == [1, 3]
    rows = table(tmp_path, [*WEATHER, *MUSIC], quality=["1", "2", "", "0.5", "no number", "3"])
    assert kept(rows, spec(2)) == [1, 5]


def test_the_odd_one_out_is_not_first() -> None:
    crowd = np.random.default_rng(0).normal(size=(200, 16)) + 3 * np.repeat(np.eye(16)[:4], 50, axis=0)
    odd = -np.ones((1, 16))
    found = np.concatenate((odd, crowd))
    order, _ = farthest((found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), np.zeros(201))
    assert 0 not in order[:4]
    assert {(row - 1) // 50 for row in order[:8].tolist()} == {0, 1, 2, 3}


def test_many_rows_are_selected_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "PARTITION", 64)
    random = np.random.default_rng(0)
    sorts = np.repeat(np.arange(8), [360, 20, 20, 20, 20, 20, 20, 20])
    found = np.eye(8)[sorts] + random.normal(size=(500, 8)) * 0.1
    with VectorFile(tmp_path / "v.f16", 8) as file:
        file.append(found / np.linalg.norm(found, axis=1, keepdims=True))
        twins, similarity = select(file, 40, np.zeros(500))
    left = np.flatnonzero(twins < 0)
    assert len(left) == 40
    assert set(sorts[left]) == set(range(8))
    assert (sorts[left] == 0).sum() < 25  # 29 of 40 by chance
    others = np.flatnonzero(twins >= 0)
    assert np.isin(twins[others], left).all()
    assert (sorts[twins[others]] == sorts[others]).mean() > 0.95
    assert similarity[others].min() > 0.8
