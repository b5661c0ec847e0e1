"""Columns of JSON lists, decoded batch-wise without one bad text spoiling, or shifting, the others.

Polars (2.1) decodes a column by joining its texts with commas and reading the result as one array: a blank text is a
syntax error for the whole batch, and a text such as `[],[]` becomes two rows. Knows nothing of what the lists mean.
"""

from __future__ import annotations

import polars as pl


def decoded(texts: pl.Series, shape: pl.List) -> pl.Series:
    """Each text as a list of this shape; null where it is blank or no such list. Values are cast where they can be."""
    listed = pl.col("text").str.strip_chars()
    whole = listed.str.starts_with("[") & listed.str.ends_with("]")
    frame = texts.rename("text").to_frame().select(pl.when(whole).then(pl.col("text")))
    return _decoded(frame.to_series(), shape)


def _decoded(texts: pl.Series, shape: pl.List) -> pl.Series:
    """All at once, or, when that fails, half by half."""
    try:
        found = texts.str.json_decode(shape)
        if len(found) == len(texts):
            return found
    except pl.exceptions.ComputeError:
        pass
    if len(texts) == 1:
        return pl.Series("text", [None], dtype=shape)
    middle = len(texts) // 2
    return pl.concat([_decoded(texts[:middle], shape), _decoded(texts[middle:], shape)])
