"""Prompt and completion straight from Arrow's text columns, without a Python object a row. Knows nothing of files."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from posttrain.data.formats.convert import may_be_plain
from posttrain.data.formats.shape import TEXTS, Shape


def texts_of(batch: pa.RecordBatch, shape: Shape) -> dict[str, pl.Series] | None:
    """The columns of texts and those kept; None when these rows must be looked at one by one."""
    if not may_be_plain(shape):
        return None
    wanted = {
        **{part: shape.columns.get(part, "") for part in TEXTS[shape.kind]},
        **{name: name for name in shape.keep},
    }
    found: dict[str, pl.Series] = {}
    for part, name in wanted.items():
        if not name and part == "system":
            found[part] = pl.Series(part, [""] * batch.num_rows, dtype=pl.String)
            continue
        if name not in batch.schema.names or not _is_text(batch.column(name)):
            return None
        found[part] = pl.Series(part, batch.column(name), dtype=pl.String).fill_null("")
    turns = any(found[part].str.starts_with("[").any() for part in ("prompt", "completion"))
    return None if turns else found


def _is_text(array: pa.Array) -> bool:
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return False
    try:
        array.validate(full=True)  # that the bytes are UTF-8, which Arrow does not look at by itself
    except pa.ArrowInvalid:
        return False
    return True
