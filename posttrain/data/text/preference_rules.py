"""What can be wrong with preference pairs and conversations, as pure functions over batches of rows.

The row rules and the Great Expectations both ask here, so that they cannot disagree. Every function takes columns of
text and answers for each row; the two questions that need all rows (`reversed_pairs`, `LengthBias`) take small
summaries of batches. Knows nothing of severities or stages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from posttrain.data.text.json_columns import decoded

_WORD = r"[\u3040-\u30ff\u3400-\u9fff]|[\p{L}\p{N}]+"
"""A word as in `words.words`: each Chinese or Japanese character counts as one."""

TURNS = r"^s?(u(at+)*a)+$"
"""Roles by their initials: a system message or none, then user and assistant in turn. An assistant's turn may be a
call of tools, answered by one or more tool turns and an assistant's turn. The last word is the assistant's."""

_INITIALS = {"system": "s", "developer": "s", "user": "u", "assistant": "a", "tool": "t"}


def folded(text: str = "chosen") -> pl.Expr:
    """A column's text for comparison: Unicode NFKC, lower case, runs of blanks as one, none at the ends.

    Punctuation stays: "x = -1" and "x = 1" are different answers.
    """
    plain = pl.col(text).str.normalize("NFKC").str.to_lowercase()
    return plain.str.replace_all(r"\s+", " ").str.strip_chars(" ")


def empty_sides(rows: pl.DataFrame) -> pl.Series:
    """Which of the sides are blank, in words ("chosen", "chosen and rejected"); "" when neither is."""
    blank = {side: pl.col(side).str.strip_chars() == "" for side in ("chosen", "rejected")}
    one = pl.when(blank["chosen"]).then(pl.lit("chosen")).when(blank["rejected"]).then(pl.lit("rejected"))
    both = pl.when(blank["chosen"] & blank["rejected"]).then(pl.lit("chosen and rejected"))
    return rows.select(both.otherwise(one.otherwise(pl.lit(""))).alias("empty")).to_series()


def same_sides(rows: pl.DataFrame) -> pl.Series:
    """Whether chosen and rejected say the same, but for case, blanks and Unicode forms: nothing to prefer."""
    return rows.select((folded("chosen") == folded("rejected")).alias("same")).to_series()


def similarity(rows: pl.DataFrame) -> pl.Series:
    """Jaccard similarity of chosen and rejected, 0 to 1: word pairs (with the ends as words) that both have.

    Order counts ("a beats b" against "b beats a": 0), punctuation does not. 0 when both sides lack words.
    """
    chosen, rejected = (_word_pairs(rows[side]) for side in ("chosen", "rejected"))
    shared = np.intersect1d(chosen, rejected, assume_unique=True)
    of_chosen, of_rejected, of_both = (_counts(found, rows.height) for found in (chosen, rejected, shared))
    union = of_chosen + of_rejected - of_both
    return pl.Series("similarity", of_both / np.maximum(union, 1))


_ROW_BITS = 24
"""Sixteen million rows at a time; the other forty bits are a hash of the pair, which only meets those of its row."""


def _word_pairs(texts: pl.Series) -> np.ndarray:
    """Distinct numbers (uint64, sorted) that stand for a row and two neighbouring words."""
    words = texts.str.to_lowercase().str.extract_all(_WORD)
    lengths = words.list.len().to_numpy().astype(np.int64)
    hashes = words.filter(pl.Series(lengths > 0)).explode().hash().to_numpy()
    rows = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    first = np.ones(len(rows), bool)
    first[1:] = rows[1:] != rows[:-1]
    before = np.where(first, np.uint64(0), np.roll(hashes, 1))
    last = np.roll(first, -1)
    pairs = np.concatenate([before * _MIX + hashes, hashes[last] * _MIX])
    keys = np.concatenate([rows, rows[last]]) << np.uint64(64 - _ROW_BITS)
    keys = np.sort(keys | (pairs >> np.uint64(_ROW_BITS)))  # np.unique hashes, at fifty times the cost
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys


_MIX = np.uint64(0x9E3779B97F4A7C15)


def _counts(found: np.ndarray, rows: int) -> np.ndarray:
    return np.bincount((found >> np.uint64(64 - _ROW_BITS)).astype(np.int64), minlength=rows)


# --- what needs all rows -------------------------------------------------------------------------------------


def pair_hashes(rows: pl.DataFrame) -> pl.DataFrame:
    """`forward` and `backward`: 64-bit hashes of (prompt, chosen, rejected) and of (prompt, rejected, chosen), folded.

    Sixteen bytes a row are all that `reversed_pairs` must see of five million rows; the chance that two of those
    collide is one in a million.
    """
    sides = {name: folded(name) for name in ("prompt", "chosen", "rejected")}
    forward = pl.struct(sides["prompt"].alias("a"), sides["chosen"].alias("b"), sides["rejected"].alias("c"))
    backward = pl.struct(sides["prompt"].alias("a"), sides["rejected"].alias("b"), sides["chosen"].alias("c"))
    return rows.select(forward.hash().alias("forward"), backward.hash().alias("backward"))


def reversed_pairs(hashes: pl.DataFrame) -> pl.DataFrame:
    """(row, twin): rows whose pair stands elsewhere with chosen and rejected exchanged, and the first such row.

    `hashes` are those of all rows (`pair_hashes`), in order; `row` and `twin` count from 0. Nobody can say which of
    the two is right, so both are named. A pair of equal sides is not its own reverse; that is for `same_sides`.
    """
    numbered = hashes.with_row_index("row").filter(pl.col("forward") != pl.col("backward"))
    first = numbered.group_by("forward").agg(pl.col("row").min().alias("twin"))
    found = numbered.join(first, left_on="backward", right_on="forward", how="inner").sort("row")
    return found.select(pl.col("row", "twin").cast(pl.Int64))


@dataclass(frozen=True)
class LengthBias:
    """How often the longer side is the chosen one: a figure of the set, from which a judge may learn "long is good".

    Lengths are characters. Sums of batches are sums of sets: `LengthBias.of(a) + LengthBias.of(b)`.
    """

    pairs: int = 0
    chosen_longer: int = 0
    equal: int = 0
    chosen_characters: int = 0
    rejected_characters: int = 0

    @classmethod
    def of(cls, rows: pl.DataFrame) -> LengthBias:
        """The figure of a batch of preference rows."""
        chosen, rejected = (rows[side].str.len_chars().cast(pl.Int64) for side in ("chosen", "rejected"))
        longer, equal = int((chosen > rejected).sum()), int((chosen == rejected).sum())
        return cls(rows.height, longer, equal, int(chosen.sum()), int(rejected.sum()))

    def __add__(self, other: LengthBias) -> LengthBias:
        return LengthBias(
            self.pairs + other.pairs,
            self.chosen_longer + other.chosen_longer,
            self.equal + other.equal,
            self.chosen_characters + other.chosen_characters,
            self.rejected_characters + other.rejected_characters,
        )

    @property
    def share(self) -> float:
        """Share of pairs of unequal length whose chosen side is longer, 0 to 1; 0.5 when there are none."""
        unequal = self.pairs - self.equal
        return self.chosen_longer / unequal if unequal else 0.5

    @property
    def text(self) -> str:
        """In words, for reports."""
        mean = [total / max(self.pairs, 1) for total in (self.chosen_characters, self.rejected_characters)]
        means = f"{mean[0]:,.0f} to {mean[1]:,.0f} characters"
        return f"chosen is longer in {self.share:.0%} of {self.pairs:,} pairs ({means})"


# --- conversations -------------------------------------------------------------------------------------------


def role_problems(messages: pl.Series) -> pl.Series:
    """What is wrong with the roles of each conversation (JSON list of {role, content}), in words; "" when nothing is.

    Allowed is what `TURNS` says. Values that are no such list, and roles that are no text, are named too.
    """
    roles = _roles(messages)
    turns = pl.col("roles").list.eval(pl.element().replace_strict(_INITIALS, default="?")).list.join("")
    frame = pl.DataFrame({"roles": roles}).with_columns(turns.alias("turns"))
    suspect = frame.select(~pl.col("turns").str.contains(TURNS).fill_null(False)).to_series()
    words = [_role_problem(text) for text in messages.filter(suspect).to_list()]
    found = np.full(len(messages), "", object)
    found[suspect.to_numpy()] = words
    return pl.Series("roles", found, dtype=pl.String)


def _roles(messages: pl.Series) -> pl.Series:
    """List of roles of each conversation; null where it cannot be read."""
    turns = decoded(messages, pl.List(pl.Struct({"role": pl.String})))
    return turns.list.eval(pl.element().struct.field("role"))


def _turns(text: str) -> list[object]:
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return turns if isinstance(turns, list) else []


def _role_problem(text: str) -> str:
    turns = _turns(text)
    if not turns:
        return "not a list of messages"
    before = ""
    for number, turn in enumerate(turns, 1):
        role = turn.get("role") if isinstance(turn, dict) else None
        initial = _INITIALS.get(role, "") if isinstance(role, str) else ""
        if not initial:
            return f"turn {number}: role {json.dumps(role, ensure_ascii=False)}"
        if initial not in _FOLLOWS[before]:
            return f"turn {number}: {role} {f'after {_NAMES[before]}' if before else 'first'}"
        before = initial
    return "" if before == "a" else f"last turn: {_NAMES[before]}"


_NAMES = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
_FOLLOWS = {"": "su", "s": "u", "u": "a", "a": "ut", "t": "ta"}
