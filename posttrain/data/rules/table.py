"""Twins of the expectations that compare rows: of each row only hashes of eight bytes are kept.

Two different texts have one hash with a chance of one in a million among five million rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from posttrain.data.rows import shorten
from posttrain.data.rules.registry import OTHER, ROW, twin
from posttrain.data.text import labels
from posttrain.data.text.codes import blocks, codes, folded

_MIX = np.uint64(0x9E3779B97F4A7C15)
RARE = 0.001
"""A label used in a smaller share of all uses is probably a typing error (this project)."""


def hashed(*columns: pl.Series) -> np.ndarray:
    """One hash (uint64) a row for the texts of several columns."""
    total = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        total = total * _MIX + column.hash(seed=7).to_numpy()
    return total


def numbered(**columns: np.ndarray) -> pl.DataFrame:
    """Sketches with the position of each row in the batch."""
    count = len(next(iter(columns.values())))
    return pl.DataFrame({ROW: np.arange(count, dtype=np.uint32), **columns})


def none() -> pl.DataFrame:
    """No row found."""
    return pl.DataFrame(schema={ROW: pl.UInt32, OTHER: pl.UInt32})


def pairs(rows: np.ndarray, others: np.ndarray) -> pl.DataFrame:
    """Rows found, in order, each with its other."""
    return pl.DataFrame({ROW: rows.astype(np.uint32), OTHER: others.astype(np.uint32)}).sort(ROW)


@dataclass(frozen=True)
class Groups:
    """Equal hashes lie side by side: `rows` in that order, where each group begins, and its number for each row."""

    rows: np.ndarray
    starts: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, hashes: np.ndarray) -> Groups:
        """Within a group, rows keep their order."""
        order = np.argsort(hashes, kind="stable")
        new = np.ones(len(order), bool)
        new[1:] = hashes[order][1:] != hashes[order][:-1]
        return cls(rows[order], np.flatnonzero(new), np.cumsum(new) - 1)


@twin("expect_multicolumn_values_to_come_once")
@dataclass(frozen=True)
class ComeOnce:
    """No row repeats an earlier one in these columns; blanks at the ends do not count. Of twins, the first is fine."""

    column_list: Sequence[str]

    on_sample = True
    described = ()

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.sketch`."""
        return numbered(hash=hashed(*(rows[name].str.strip_chars() for name in self.column_list)))

    def search(self, sketches: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.search`; the other row is the first of its kind."""
        groups = Groups.of(sketches[ROW].to_numpy(), sketches["hash"].to_numpy())
        first = groups.rows[groups.starts][groups.number]
        again = groups.rows != first
        return pairs(groups.rows[again], first[again])

    def describe(self, rows: pl.DataFrame, others: pl.DataFrame, sketches: pl.DataFrame) -> tuple[list[str], str]:
        """See `TableRule.describe`."""
        return [f"same as row {twin}" for twin in others["id"]], "once"


@twin("expect_compound_columns_to_be_unique")
@dataclass(frozen=True)
class UniqueRows:
    """Rows of values come once: all that come twice break the rule, the first of them too."""

    column_list: Sequence[str]

    on_sample = True
    described = ()

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.sketch`."""
        return numbered(hash=hashed(*(rows[name] for name in self.column_list)))

    def search(self, sketches: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.search`; the other row is the first of its kind, and for the first the second."""
        groups = Groups.of(sketches[ROW].to_numpy(), sketches["hash"].to_numpy())
        sizes = np.diff(np.append(groups.starts, len(groups.rows)))
        first = groups.starts[groups.number]
        place = np.arange(len(groups.rows))
        other = np.where(place == first, np.minimum(first + 1, len(place) - 1), first)
        several = sizes[groups.number] > 1
        return pairs(groups.rows[several], groups.rows[other][several])

    def describe(self, rows: pl.DataFrame, others: pl.DataFrame, sketches: pl.DataFrame) -> tuple[list[str], str]:
        """See `TableRule.describe`."""
        return [f"{', '.join(self.column_list)} as in row {twin}" for twin in others["id"]], "unique values"


@twin("expect_column_values_to_be_unique")
@dataclass(frozen=True)
class UniqueValues:
    """Values come once: all that come twice break the rule, the first of them too."""

    column: str

    on_sample = True
    described = ()

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.sketch`."""
        return UniqueRows([self.column]).sketch(rows)

    def search(self, sketches: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.search`; the other row is the first of its kind, and for the first the second."""
        return UniqueRows([self.column]).search(sketches)

    def describe(self, rows: pl.DataFrame, others: pl.DataFrame, sketches: pl.DataFrame) -> tuple[list[str], str]:
        """See `TableRule.describe`."""
        return UniqueRows([self.column]).describe(rows, others, sketches)


@twin("expect_column_pair_values_to_have_one_label")
@dataclass(frozen=True)
class OneLabel:
    """A prompt (column A) never comes with another label (column B): nobody can say which is right, so all are named.

    Prompts are compared by their words, labels without regard to case. Prose may answer one prompt in many ways.
    """

    column_A: str
    column_B: str
    kind: str = "intent_slots"

    on_sample = True

    @property
    def idle(self) -> bool:
        """Whether it asks nothing of any row."""
        return self.kind not in labels.LABEL_KINDS

    @property
    def described(self) -> tuple[str, ...]:
        """See `TableRule.described`."""
        return (self.column_B,)

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.sketch`."""
        if self.idle:
            rows = rows.head(0)
        answers = pl.Series([text.casefold().strip() for text in rows[self.column_B]], dtype=pl.String)
        return numbered(prompt=hashed(keys(rows[self.column_A])), label=hashed(answers))

    def search(self, sketches: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.search`; the other row is the first with another label."""
        prompts, answers = sketches["prompt"].to_numpy(), sketches["label"].to_numpy()
        groups = Groups.of(np.arange(len(prompts)), prompts)
        if not len(groups.rows):
            return none()
        answers = answers[groups.rows]
        other = answers != answers[groups.starts][groups.number]
        # The first that differs from the group's first row is what that row, and all of its label, are compared with.
        size = len(groups.rows)
        place = np.where(other, np.arange(size), size)
        differing = np.minimum.reduceat(place, groups.starts)[groups.number]
        at_odds = differing < size
        twin = np.where(other, groups.starts[groups.number], np.minimum(differing, size - 1))
        rows = sketches[ROW].to_numpy()[groups.rows]
        return pairs(rows[at_odds], rows[twin][at_odds])

    def describe(self, rows: pl.DataFrame, others: pl.DataFrame, sketches: pl.DataFrame) -> tuple[list[str], str]:
        """See `TableRule.describe`."""
        return [shorten(f"other label {text}") for text in others[self.column_B]], "one label"


def keys(texts: pl.Series) -> pl.Series:
    """`words.key` of each text."""
    found: list[str] = []
    for _, part in blocks(texts):
        rows = folded(codes(part))
        found += [rows.row(number).astype("<u4").tobytes().decode("utf-32-le") for number in range(rows.rows)]
    return pl.Series(texts.name, found, dtype=pl.String)


@twin("expect_column_values_to_have_common_labels")
@dataclass(frozen=True)
class CommonLabels:
    """Every slot name and intent is used in at least `min_share` of cases; a rarer one is probably a typing error.

    Of tasks of kind intent_slots only.
    """

    column: str
    kind: str = "intent_slots"
    min_share: float = RARE

    on_sample = False

    @property
    def idle(self) -> bool:
        """Whether it asks nothing of any row."""
        return self.kind != "intent_slots"

    @property
    def described(self) -> tuple[str, ...]:
        """See `TableRule.described`."""
        return (self.column,)

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.sketch`; a line for each use of a name."""
        if self.idle:
            rows = rows.head(0)
        used = [(row, name) for row, text in enumerate(rows[self.column]) for name in uses(text)]
        names = pl.Series([name for _, name in used], dtype=pl.String)
        slot = np.array([name.startswith("slot ") for _, name in used], dtype=np.uint8)
        return pl.DataFrame({ROW: np.array([row for row, _ in used], np.uint32), "name": names.hash(7), "slot": slot})

    def search(self, sketches: pl.DataFrame) -> pl.DataFrame:
        """See `TableRule.search`; no other row."""
        rare = sketches.filter(pl.len().over("name") < self.min_share * pl.len().over("slot"))
        rows = rare[ROW].unique().sort().to_numpy()
        return pairs(rows, rows)

    def describe(self, rows: pl.DataFrame, others: pl.DataFrame, sketches: pl.DataFrame) -> tuple[list[str], str]:
        """See `TableRule.describe`."""
        totals = dict(sketches.group_by("slot").len().iter_rows())
        counts = dict(sketches.group_by("name").len().iter_rows())
        return [self._rarest(text, counts, totals) for text in rows[self.column]], f"at least {self.min_share:.1%}"

    def _rarest(self, text: str, counts: dict[int, int], totals: dict[int, int]) -> str:
        names = uses(text)
        for name, number in zip(names, pl.Series(names).hash(7), strict=True):
            total = totals[int(name.startswith("slot "))]
            if counts[number] < self.min_share * total:
                return f"{name}: {counts[number]} of {total:,} uses"
        return ""


def uses(completion: str) -> list[str]:
    """What a label names: "intent x", then "slot y" for every value; nothing when it is no label."""
    if labels.problem(completion, "intent_slots"):
        return []
    return [f"intent {labels.intent(completion)}", *(f"slot {name}" for name, _ in labels.slots(completion))]


def rare_uses(completions: Sequence[str], min_share: float) -> list[bool]:
    """For each completion, whether it names something rare among all of them: the same, one text at a time."""
    named = [uses(text) for text in completions]
    counts = Counter(name for names in named for name in names)
    totals = Counter(name.split(" ", 1)[0] for names in named for name in names)
    return [any(counts[name] < min_share * totals[name.split(" ", 1)[0]] for name in names) for names in named]
