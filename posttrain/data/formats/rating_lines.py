"""Ratings written one a line: consecutive lines about the same answer become one row with all of its ratings.

Knows frames of rating rows only; where they come from is no matter, nor where they were cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

_SAME = ("system", "prompt", "completion", "problem_rule")


def by_answer(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows with their ratings together; a row has the id and place of its first line. Order is kept."""
    rest: pl.DataFrame | None = None
    for frame in frames:
        whole = frame if rest is None else pl.concat([rest, frame])
        if not whole.height:
            continue
        rows = _together(whole)
        rest = rows.tail(1)
        if rows.height > 1:
            yield rows.head(-1)
    if rest is not None:
        yield rest


def _together(lines: pl.DataFrame) -> pl.DataFrame:
    broken = pl.when(pl.col("problem_rule") != "").then(pl.col("id")).otherwise(pl.lit(""))
    run = pl.struct(*_SAME, broken.alias("broken")).rle_id().alias("run")
    inner = pl.col("ratings").str.strip_prefix("[").str.strip_suffix("]")
    joined = pl.when(pl.col("ratings").first() == "").then(pl.lit("")).otherwise("[" + inner.str.join(",") + "]")
    others = [pl.col(name).first() for name in lines.columns if name != "ratings"]
    rows = lines.with_columns(run).group_by("run", maintain_order=True).agg(*others, joined.alias("ratings"))
    return rows.select(lines.columns)
