"""What people's words do to rows: which ones pass a rule all the same, which are set aside, which have new texts.

    {"id": "3f9a…", "content": "77b0…", "rule": "near_duplicate", "verdict": "restore", "by": "ann", "at": "…"}

| verdict | the row |
| --- | --- |
| restore, keep | goes on although the rule would set it aside (keep: said of a row under review) |
| edit | goes on with the new texts in `texts` |
| drop | is set aside, under the rule "person" |

`rule` "*" is any rule. `id` "*" with a rule is every row: "restore" lets all rows pass that rule, twins or not, and
"drop" takes that back. The last word wins, and a word on one row outweighs a word on all. A word on one row holds only
while the row's texts are as they were when it was said. Knows nothing of stages, nor of what any rule looks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from posttrain.artifacts import digest
from posttrain.data import findings
from posttrain.data.account import row_verdict
from posttrain.data.account.row_verdict import EVERY, TEXTS, RowVerdict, content, edit

PERSON = "person"
"""The rule under which a row is set aside that a person dropped."""
BACK = ("restore", "keep", "edit")
SCHEMA = dict.fromkeys(("id", "content", "becomes", "rule", "verdict", "by", "note", "texts"), pl.String)
_AT = "__at"


@dataclass(frozen=True, eq=False)
class Verdicts:
    """All words, in the order in which they were said. Small, and cheap to pickle: it travels with every batch."""

    words: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))

    @classmethod
    def of(cls, words: Iterable[RowVerdict]) -> Verdicts:
        """From words in their order."""
        lines = [{**word.model_dump(), "texts": json.dumps(word.texts, ensure_ascii=False)} for word in words]
        return cls(pl.DataFrame([{name: line[name] for name in SCHEMA} for line in lines], schema=SCHEMA))

    @classmethod
    def read(cls, path: Path) -> Verdicts:
        """The file's words; none when there is no file. Raises `DataError` naming the first bad line."""
        return cls.of(row_verdict.read(path))

    @property
    def digest(self) -> str:
        """For fingerprints: changes with every word, but not with its date."""
        return digest(self.words.to_dicts())

    def about(self, rules: Iterable[str]) -> Verdicts:
        """The words on these rules and on any rule, so that a stage's fingerprint covers only what concerns it."""
        return Verdicts(self.words.filter(pl.col("rule").is_in([*rules, EVERY])))

    def restores(self, rows: pl.DataFrame, rule: str) -> pl.Series:
        """One flag a row: whether a person lets it pass this rule. `rows` needs `id` and the texts.

        Never true of the rule "person": `drops` heeds restores by itself.
        """
        flags = np.full(rows.height, rule != PERSON and self._on_every_row(rule)[1])
        if rule != PERSON:
            last = self._last(rows, self._numbered().filter(pl.col("rule").is_in([rule, EVERY])))
            flags[last["row"].to_numpy()] = last["verdict"].is_in(BACK).to_numpy()
        return pl.Series("restored", flags, dtype=pl.Boolean)

    def drops(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Findings (`findings.SCHEMA`) about the rows that a person dropped and nobody has restored since."""
        place, all_back = self._on_every_row(PERSON)
        last = self._last(rows, self._numbered()).filter(pl.col("verdict") == "drop").sort("row")
        last = last.filter(pl.col("place") > place) if all_back else last
        by = pl.when(pl.col("by") == "").then(pl.lit("somebody")).otherwise(pl.col("by"))
        note = pl.when(pl.col("note") == "").then(pl.lit("")).otherwise(": " + pl.col("note"))
        value = last.select(value="dropped by " + by + note)["value"]
        return findings.findings(last["row"].cast(pl.Int64), value, "a person's word")

    def edited(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, in their order, with the new texts of those that a person edited."""
        edits: dict[str, list[dict[str, str]]] = {}
        for word in self.words.filter(pl.col("verdict") == "edit").to_dicts():
            edits.setdefault(word["id"], []).append(word)
        places = np.flatnonzero(rows["id"].is_in(list(edits)).to_numpy())
        if not len(places):
            return rows
        changed = [_through(row, edits[row["id"]]) for row in rows[places].to_dicts()]
        new = pl.DataFrame(changed, schema=rows.schema).with_columns(pl.Series(_AT, places, dtype=pl.UInt32))
        return rows.with_row_index(_AT).update(new, on=_AT).drop(_AT)

    def holding(self, row: Mapping[str, str]) -> list[bool]:
        """For each word on this row's id, in their order: whether it holds for the texts that the row now has."""
        now = content(row)
        return [now in (word["content"], word["becomes"]) for word in self.words.to_dicts() if word["id"] == row["id"]]

    def settled(self, rows: pl.DataFrame, rule: str) -> pl.Series:
        """One flag a row: whether a person has said any word on it under this rule that still holds."""
        return rows["id"].is_in(list(self.accepted(rows, rule))).rename("settled")

    def accepted(self, rows: pl.DataFrame, rule: str) -> dict[str, bool]:
        """Row id -> whether a person accepts the row, for those of whom somebody has said so under this rule."""
        last = self._last(rows, self._numbered().filter(pl.col("rule").is_in([rule, EVERY])))
        return dict(last.select("id", pl.col("verdict").is_in(BACK)).iter_rows())

    def _numbered(self) -> pl.DataFrame:
        return self.words.with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64))

    def _on_every_row(self, rule: str) -> tuple[int, bool]:
        """(place of the last word on all rows of this rule, or -1; whether it restores them)."""
        last = self._numbered().filter((pl.col("id") == EVERY) & (pl.col("rule") == rule)).tail(1)
        return (last["place"].item(), last["verdict"].item() == "restore") if last.height else (-1, False)

    def _last(self, rows: pl.DataFrame, words: pl.DataFrame) -> pl.DataFrame:
        """The last of these words that holds, for every row that has one: `row`, `place` and the word's columns.

        Only rows that somebody has spoken of are looked at, so that millions of others cost next to nothing.
        """
        words = words.filter(pl.col("id") != EVERY)
        texts = [name for name in TEXTS if name in rows.columns]
        known = rows.select("id", *texts).with_row_index("row").join(words.select("id").unique(), on="id", how="semi")
        now = pl.Series("now", [content(row) for row in known.to_dicts()], dtype=pl.String)
        said = known.select("row", "id", now).join(words, on="id")
        said = said.filter((pl.col("now") == pl.col("content")) | (pl.col("now") == pl.col("becomes")))
        return said.sort("place").unique("row", keep="last", maintain_order=True)


@dataclass(frozen=True)
class Person:
    """The curation step (`steps.RowStep`) that sets aside what people dropped; runs before all others."""

    verdicts: Verdicts
    name: str = PERSON
    reason: str = "dropped by a person"

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `Verdicts.drops`."""
        return self.verdicts.drops(rows)


def _through(row: dict[str, str], edits: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The row after every edit that was made of it as it then stood."""
    for word in edits:
        if content(row) == word["content"]:
            row = edit(row, json.loads(word["texts"]))
    return row
