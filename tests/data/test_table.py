"""Tables on disk: batches, flags, and bytes that depend on the rows alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from posttrain.data.curate.arrange import write_in_order, write_shuffled
from posttrain.data.table import Table, TableWriter
from posttrain.errors import DataError


def numbered(path: Path, count: int, batch: int = 7) -> Table:
    with TableWriter(path, ("id", "prompt")) as writer:
        for start in range(0, count, batch):
            writer.write(pl.DataFrame({"id": [str(number) for number in range(start, min(count, start + batch))]}))
    return Table(path)


def test_batches_carry_the_position_in_the_file(tmp_path: Path) -> None:
    table = numbered(tmp_path / "rows.parquet", 20).without([0, 5]).without([19])
    frames = list(table.batches(size=8))
    assert [frame["id"].to_list() for frame in frames] == [
        ["1", "2", "3", "4", "6", "7"],
        ["8", "9", "10", "11", "12", "13", "14", "15"],
        ["16", "17", "18"],
    ]
    assert table.rows == 17
    assert all(frame["id"].cast(pl.Int64).equals(frame[Table.INDEX].rename("id")) for frame in frames)
    assert table.only([5, 2]).frame(["id"])["id"].to_list() == ["2", "5"]


def test_a_lacking_column_is_empty_text_and_a_foreign_one_is_left_out(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "rows.parquet", ("id", "prompt")) as writer:
        writer.write(pl.DataFrame({"id": ["a"], "other": ["x"]}))
    assert Table(tmp_path / "rows.parquet").frame().to_dicts() == [{"id": "a", "prompt": "", Table.INDEX: 0}]


def test_the_same_rows_give_the_same_bytes_whatever_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TableWriter, "GROUP", 10)
    one, other = numbered(tmp_path / "one.parquet", 47, 7), numbered(tmp_path / "other.parquet", 47, 33)
    assert one.path.read_bytes() == other.path.read_bytes()


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    table = numbered(tmp_path / "rows.parquet", 0)
    assert table.rows == 0
    assert list(table.batches()) == []
    assert table.frame().columns == ["id", "prompt", Table.INDEX]


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.parquet: the file is gone; run the pipeline again"):
        list(Table(tmp_path / "gone.parquet").batches())
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"broken\.parquet: not a Parquet file"):
        list(Table(tmp_path / "broken.parquet").batches())


def test_a_shuffle_takes_each_chosen_row_as_often_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posttrain.data.curate.arrange.DEALT", 9)  # several piles
    first, second = numbered(tmp_path / "first.parquet", 30), numbered(tmp_path / "second.parquet", 12)
    chosen = [(first, np.array([3, 1, 29, 3])), (second, np.arange(12))]
    made = write_shuffled(tmp_path / "mixed.parquet", chosen, ("id", "prompt"), seed=1)
    ids = Table(made.path).frame()["id"].to_list()
    assert sorted(ids, key=int) == sorted(["3", "1", "29", "3", *map(str, range(12))], key=int)
    assert ids != [*"31", "29", "3", *map(str, range(12))]
    again = write_shuffled(tmp_path / "again.parquet", chosen, ("id", "prompt"), seed=1)
    assert again.path.read_bytes() == made.path.read_bytes()
    other = write_shuffled(tmp_path / "other.parquet", chosen, ("id", "prompt"), seed=2)
    assert Table(other.path).frame()["id"].to_list() != ids
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_shuffle_in_one_pile_or_in_many_has_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = numbered(tmp_path / "rows.parquet", 50)
    one = write_shuffled(tmp_path / "one.parquet", [(table, np.arange(50))], ("id",), seed=3)
    monkeypatch.setattr("posttrain.data.curate.arrange.DEALT", 7)
    many = write_shuffled(tmp_path / "many.parquet", [(table, np.arange(50))], ("id",), seed=3)
    assert one.path.read_bytes() == many.path.read_bytes()


def test_in_order_writes_the_rows_that_are_there(tmp_path: Path) -> None:
    table = numbered(tmp_path / "rows.parquet", 10).without([4])
    made = write_in_order(tmp_path / "kept.parquet", table, ("id",))
    assert made.rows == 9
    assert Table(made.path).frame()["id"].to_list() == [*"0123", *"56789"]
