"""The account of a row: what became of it, read back from what the data stages left behind.

Knows no terminal, and runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from posttrain.data.account.outputs import ASIDE, DataStages
from posttrain.data.account.row_verdict import EVERY, TEXTS, RowVerdict
from posttrain.data.account.verdicts import Verdicts
from posttrain.errors import DataError

SHOWN_CANDIDATES = 5
MOST_CANDIDATES = 500
MADE = ("origin", "parent", "retold", "teacher")
"""Columns of rows that a model wrote or that are another row told differently."""
UNTOUCHED = ("quarantine", "test", "general_held_out")
"""Tables of validation whose rows curation does not choose from."""
PLACE = re.compile(r".+:\d+$")
"""A row's place, "file:line", rather than its id."""


@dataclass(frozen=True)
class Twin:
    """The other row of a reason: what it says, and where it is now."""

    id: str
    source: str
    texts: dict[str, str]
    places: tuple[str, ...]


@dataclass(frozen=True)
class Reason:
    """Why a stage set a row aside ("drop"), sent it to review, or warned of it."""

    stage: str
    verdict: str
    rule: str
    value: str
    threshold: str
    twin: Twin | None


@dataclass(frozen=True)
class Story:
    """A row from its line in a file to where it is now.

    `made` says how a row came to be that no file has: its `MADE` columns, {} for any other.
    `texts` are those of the file, `tidied` those that curation changed, as it left them. `passed` is (stage, table):
    where each stage left the row. `words` are people's, each with whether it still holds; `restored` says that by them
    the row passes every rule that set it aside, from the next run on.
    """

    id: str
    source: str
    made: dict[str, str]
    texts: dict[str, str]
    tidied: dict[str, str]
    passed: tuple[tuple[str, str], ...]
    reasons: tuple[Reason, ...]
    words: tuple[tuple[RowVerdict, bool], ...]
    restored: bool
    places: tuple[str, ...]


def why(key: str, stages: DataStages, verdicts: Sequence[RowVerdict] = ()) -> Story:
    """The story of the row with this id (or its beginning) or at this "file:line".

    Raises `DataError` when no row or more than one fits.
    """
    row_id = resolve(key, stages)
    found = _rows(stages, pl.col("id") == row_id)
    twins = _twins({row["twin"] for _, _, row in found if row.get("twin")}, stages)
    splits = [(stage, table, row) for stage, table, row in found if table not in ASIDE]
    reasons = tuple(
        Reason(stage, _verdict(table, row), row["rule"], row["value"], row["threshold"], twins.get(row["twin"]))
        for stage, table, row in found
        if table in ASIDE
    )
    first, last = found[0][2], found[-1][2]
    said = Verdicts.of(verdicts)
    holds = iter(said.holding(last))
    rules = [each.rule for each in reasons if each.verdict != "warn"]
    words = [word for word in verdicts if word.id == row_id or (word.id == EVERY and word.rule in rules)]
    return Story(
        id=row_id,
        source=first["source"],
        made={name: last[name] for name in MADE if last.get(name)},
        texts=_texts(first),
        tidied={name: last.get(name, "") for name in TEXTS if last.get(name, "") != first.get(name, "")},
        passed=tuple((stage, table) for stage, table, _ in splits),
        reasons=reasons,
        words=tuple((word, word.id == EVERY or next(holds)) for word in words),
        restored=bool(rules) and all(said.restores(pl.DataFrame([last]), rule).all() for rule in rules),
        places=places(found, stages),
    )


def resolve(key: str, stages: DataStages) -> str:
    """The id of the row that `key` means. Raises `DataError` when no row or more than one fits."""
    key = key.strip()
    if not key:
        raise DataError("the row's id is empty, expected an id, its beginning, or file:line")
    source = pl.col("source")
    fits = pl.col("id").str.starts_with(key.lower())
    if PLACE.match(key):
        fits = (source == key) | source.str.ends_with(f"/{key}")
    known: dict[str, str] = {}
    for _, path in stages.tables():
        some = pl.scan_parquet(path).filter(fits).select("id", "source").unique().limit(MOST_CANDIDATES)
        known |= dict(some.collect(engine="streaming").iter_rows())
    if key.lower() in known or len(known) == 1:
        return key.lower() if key.lower() in known else next(iter(known))
    if not known:
        raise DataError(
            f"{key}: no such row in the last run, expected an id, its beginning, or file:line as the data files count; "
            "`posttrain rows list` shows some, and a row of a file that has changed since needs a new run"
        )
    shown = [f"{name} ({known[name]})" for name in sorted(known)]
    more = ", …" if len(shown) > SHOWN_CANDIDATES else ""
    listed = ", ".join(shown[:SHOWN_CANDIDATES])
    count = f"{len(known):,}" if len(known) < MOST_CANDIDATES else "too many"
    raise DataError(f"{key}: fits {count} rows, expected one; give more of the id or path: {listed}{more}")


Found = tuple[str, str, dict[str, str]]
"""Stage, table ("train", "quarantine"), row."""


def _rows(stages: DataStages, fits: pl.Expr) -> list[Found]:
    """Every row that fits, in the order of the flow."""
    return [
        (stage, path.stem, row)
        for stage, path in stages.tables()
        for row in pl.scan_parquet(path).filter(fits).collect(engine="streaming").to_dicts()
    ]


def places(found: Sequence[Found], stages: DataStages) -> tuple[str, ...]:
    """Where a row is now: the tables of curation that hold it, else what validation did with it.

    "review" and "dropped" are curation's, "quarantine" is validation's; "valid" is a row that waits for curation; "left
    out" one that curation received, found nothing wrong with, and did not draw for the mix.
    """
    curated = [(table, row) for stage, table, row in found if stage == "curate"]
    if curated:
        return tuple(
            dict.fromkeys("review" if row.get("verdict") == "review" else table for table, row in curated)
        )  # a row that is drawn twice is still in one place
    tables = [table for _, table, row in found if table != "warned"]
    if stages.curate and "quarantine" not in tables:
        return ("left out",)
    return tuple(dict.fromkeys(table if table in UNTOUCHED else "valid" for table in tables))


def _twins(ids: set[str], stages: DataStages) -> dict[str, Twin]:
    together: dict[str, list[Found]] = {}
    for each in _rows(stages, pl.col("id").is_in(sorted(ids))) if ids else ():
        together.setdefault(each[2]["id"], []).append(each)
    return {
        name: Twin(name, found[0][2]["source"], _texts(found[0][2]), places(found, stages))
        for name, found in together.items()
    }


def _texts(row: Mapping[str, str]) -> dict[str, str]:
    return {name: row[name] for name in ("system", *TEXTS) if row.get(name)}


def _verdict(table: str, row: Mapping[str, str]) -> str:
    return "warn" if table == "warned" else row.get("verdict") or "drop"
