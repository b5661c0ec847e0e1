"""Columns of a user's small file that measuring reads: JSON lines, CSV or Parquet, by its name. Knows no meaning."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from posttrain.errors import DataError

_READERS: dict[str, Callable[[Any], pl.DataFrame]] = {
    ".jsonl": pl.read_ndjson,
    ".csv": pl.read_csv,
    ".parquet": pl.read_parquet,
}


def read_columns(path: Path, shown: str, key: str) -> dict[str, list[Any]]:
    """Name of a column -> its values. `shown` is the path as the user wrote it, `key` the setting that names it.

    Raises: `DataError` for a file of another kind, or one that cannot be read.
    """
    reader = _READERS.get(Path(path.name.removesuffix(".gz")).suffix)
    if reader is None:
        raise DataError(f"{shown}: expected a file of .jsonl, .csv or .parquet (.gz is fine); convert it")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path
        return reader(content).to_dict(as_series=False)
    except (OSError, EOFError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{shown}: cannot be read ({str(error).splitlines()[0]}); correct {key}") from error
