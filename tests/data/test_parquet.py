"""Rows in Parquet: what is written comes back, and a file that is gone is said to be."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from posttrain.artifacts import DatasetRef
from posttrain.data.parquet import read_rows
from posttrain.data.table import TableWriter
from posttrain.errors import DataError

ROW = {"id": "1", "source": "x:1", "system": "", "prompt": "p", "completion": "c"}


def written(folder: Path, *rows: dict[str, str]) -> DatasetRef:
    with TableWriter(folder / "a.parquet", list(ROW)) as writer:
        for row in rows:
            writer.write(pl.DataFrame([row]))
    return writer.ref(folder)


def test_rows_come_back(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "id": "2", "prompt": "q"}]
    ref = written(tmp_path, *rows)
    assert (ref.uri, ref.rows) == (str(tmp_path / "a.parquet"), 2)
    assert read_rows(ref) == rows


def test_no_rows_are_none(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path)) == []


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    ref = written(tmp_path, ROW)
    Path(ref.uri).unlink()
    with pytest.raises(DataError, match="the file is gone, expected 1 rows; run the pipeline again"):
        read_rows(ref)
