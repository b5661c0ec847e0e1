"""All rows of a stage at once, for tasks whose rows fit in memory; `table.py` reads and writes streams of them."""

from __future__ import annotations

from posttrain.artifacts import DatasetRef
from posttrain.data.rows import Row
from posttrain.errors import DataError


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
