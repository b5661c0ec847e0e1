"""Rows to measure on, read from Parquet, and what was found in them, written back. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posttrain.artifacts import DatasetRef, file_digest
from posttrain.errors import DataError

Row = Mapping[str, str]


def read(rows: DatasetRef, limit: int | None = None) -> list[Row]:
    """The first `limit` rows (all when None). Raises: `DataError` when there are none."""
    from pyarrow import parquet

    table = parquet.read_table(rows.uri)
    found: list[Row] = table.slice(0, limit).to_pylist() if limit is not None else table.to_pylist()
    if not found:
        raise DataError(f"{rows.uri}: holds no rows to measure on; give the spec's data section more rows")
    return found


def write(table: Sequence[Mapping[str, Any]], partial: Path, final: Path) -> DatasetRef:
    """Write a table to `partial`; the reference says `final`, where the finished stage will lie.

    Half a character, which JSON can escape ("\\ud83d") and UTF-8 cannot write, becomes a question mark.
    """
    import pyarrow as arrow
    from pyarrow import parquet

    rows = [{name: _writable(value) for name, value in row.items()} for row in table]
    parquet.write_table(arrow.Table.from_pylist(rows), partial, compression="zstd")
    return DatasetRef(uri=str(final), fingerprint=file_digest(partial), rows=len(table))


def _writable(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
