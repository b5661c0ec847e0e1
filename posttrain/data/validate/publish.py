"""The second pass: the rows that go on, those set aside and those warned about, each to its file.

Knows no rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from posttrain.artifacts import DatasetRef
from posttrain.data.rows import COLUMNS
from posttrain.data.table import Table, TableWriter
from posttrain.data.validate.examine import FOUND, WARNINGS
from posttrain.data.validate.result import REASON
from posttrain.data.validate.sample import copied
from posttrain.data.validate.settle import Part
from posttrain.data.validate.spool import Spool


def write_split(part: Part, partial: Path, final: Path) -> DatasetRef | None:
    """Write the split's rows that go on, and count the warnings about them; None when no row is left.

    What is set aside or warned about goes to hidden files of the split, for `merge`.
    """
    intake = part.intake
    aside, warned = _findings(part.aside), _findings(part.warned)
    reasons = [*intake.columns, *REASON]
    kept = TableWriter(partial / f"{part.split}.parquet", intake.columns)
    with kept, TableWriter(_late(part), reasons) as gone, TableWriter(_warned(part), reasons) as told:
        for batch in intake.spool.batches():
            places = batch[Spool.INDEX]
            alive = pl.Series(part.alive[places.to_numpy()])
            kept.write(batch.filter(alive))
            gone.write(_reasoned(batch, _between(aside, places), part.split))
            rows = batch.filter(alive)
            told_of = _reasoned(rows, pl.concat([_own_warnings(rows), _between(warned, places)]), part.split)
            told.write(told_of)
            for (rule,), found in told_of.group_by("rule", maintain_order=True):
                intake.counts.add(str(rule), "warn", found)
    intake.spool.path.unlink()
    if not kept.rows:
        kept.path.unlink()
        return None
    return kept.ref(final)


def _late(part: Part) -> Path:
    return part.intake.aside.with_name(f".{part.split}.late.parquet")


def _warned(part: Part) -> Path:
    return part.intake.aside.with_name(f".{part.split}.warned.parquet")


def _findings(found: Sequence[pl.DataFrame]) -> pl.DataFrame:
    schema = {"row": pl.Int64, **dict.fromkeys(FOUND, pl.String)}
    return pl.concat([pl.DataFrame(schema=schema), *found]).sort("row", maintain_order=True)


def _between(found: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """The findings about rows at these consecutive positions."""
    low, high = places[0], places[-1]
    start = int(found["row"].search_sorted(low, side="left"))
    return found.slice(start, int(found["row"].search_sorted(high, side="right")) - start)


def _own_warnings(rows: pl.DataFrame) -> pl.DataFrame:
    """The findings that the column WARNINGS holds."""
    said = rows.filter(pl.col(WARNINGS) != "")
    lines = [
        (place, *finding)
        for place, text in said.select(Spool.INDEX, WARNINGS).iter_rows()
        for finding in json.loads(text)
    ]
    return pl.DataFrame(lines, schema={"row": pl.Int64, **dict.fromkeys(FOUND, pl.String)}, orient="row")


def _reasoned(rows: pl.DataFrame, found: pl.DataFrame, split: str) -> pl.DataFrame:
    """A line for each finding about one of the rows: the row, then REASON; one line for a row and a rule."""
    found = found.unique(["row", "rule"], keep="first", maintain_order=True)
    joined = found.join(rows, left_on="row", right_on=Spool.INDEX, how="inner", maintain_order="left")
    return copied(joined.sort("row", maintain_order=True).with_columns(pl.lit(split).alias("split")))


def merge(parts: Sequence[Part], partial: Path, final: Path) -> tuple[DatasetRef, DatasetRef]:
    """(quarantine, warned): what all splits left, with every column that any of them has."""
    own = [column for part in parts for column in part.intake.columns]
    columns = list(dict.fromkeys([*COLUMNS, *own, *REASON]))
    refs = []
    for name, files in (
        ("quarantine", [path for part in parts for path in (part.intake.aside, _late(part))]),
        ("warned", [_warned(part) for part in parts]),
    ):
        writer = TableWriter(partial / f"{name}.parquet", columns)
        with writer:
            for batch in _all(files):
                writer.write(batch)
        refs.append(writer.ref(final))
    return refs[0], refs[1]


def _all(files: Sequence[Path]) -> Iterator[pl.DataFrame]:
    for path in files:
        yield from Table(path).batches()
        path.unlink()
