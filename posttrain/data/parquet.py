"""Rows in Parquet: how data lies between stages. Every column is a string. Knows nothing of what rows mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from posttrain.artifacts import DatasetRef, file_digest
from posttrain.data.rows import COLUMNS, Row
from posttrain.errors import DataError


def write_rows(path: Path, rows: Sequence[Mapping[str, str]], final: Path, extra: Iterable[str] = ()) -> DatasetRef:
    """Write rows to `path`; the reference points at the file of the same name in `final`.

    The columns are `COLUMNS`, then `extra`, then any other in the order of appearance; what a row lacks is "".
    The same rows give the same bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(dict.fromkeys([*COLUMNS, *extra, *(name for row in rows for name in row)]))
    table = pa.table({name: pa.array([row.get(name, "") for row in rows], pa.string()) for name in columns})
    pq.write_table(table, path, compression="zstd")
    return DatasetRef(uri=str(final / path.name), fingerprint=file_digest(path), rows=len(rows))


def read_rows(ref: DatasetRef) -> list[Row]:
    """The rows that a reference points at. Raises `DataError` when its file is gone or is not Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(ref.uri)
    except FileNotFoundError as error:
        raise DataError(f"{ref.uri}: the file is gone, expected {ref.rows} rows; run the pipeline again") from error
    except pa.ArrowInvalid as error:
        raise DataError(f"{ref.uri}: not a Parquet file ({error}); remove its folder and run again") from error
    rows: list[Row] = table.to_pylist()
    return rows
