"""Rows in Parquet: what is written comes back, and the reference tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.data.parquet import read_rows, write_rows
from posttrain.errors import DataError

ROW = {"id": "1", "source": "x:1", "system": "", "prompt": "p", "completion": "c"}


def test_rows_come_back_and_the_reference_points_at_the_final_folder(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "group": "general"}]
    ref = write_rows(tmp_path / "a.parquet", rows, tmp_path)
    assert (ref.uri, ref.rows) == (str(tmp_path / "a.parquet"), 2)
    assert read_rows(ref) == [{**ROW, "group": ""}, rows[1]]
    assert write_rows(tmp_path / "b.parquet", rows, Path("final")).uri == "final/b.parquet"
    assert write_rows(tmp_path / "b.parquet", rows, tmp_path).fingerprint == ref.fingerprint


def test_no_rows_still_have_columns(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    ref = write_rows(tmp_path / "a.parquet", [], tmp_path, ("rule",))
    assert read_rows(ref) == []
    assert pq.read_schema(ref.uri).names == ["id", "source", "system", "prompt", "completion", "rule"]


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    ref = write_rows(tmp_path / "a.parquet", [ROW], tmp_path)
    Path(ref.uri).unlink()
    with pytest.raises(DataError, match="the file is gone, expected 1 rows; run the pipeline again"):
        read_rows(ref)
