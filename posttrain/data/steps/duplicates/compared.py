"""What of a row is compared with other rows, and what must be equal before they are compared at all.

A JSON answer is a label: it must be the same, and only prompts are compared, for prompts that differ in a word and in
their slots both teach. Prose is compared together with its prompt. Knows nothing of how texts are compared.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from posttrain.data.table import Table
from posttrain.data.text.codes import Ragged, blocks, codes, folded, mixed, words
from posttrain.data.text.prose import is_json

ANSWERS = ("completion", "chosen", "rejected")
REJECTED = "\x1e"
"""Stands before a rejected answer: chosen here and rejected there is not the same (ASCII's record separator)."""


def columns(table: Table) -> list[str]:
    """The columns of a table that decide whether two rows say the same."""
    names = table.columns
    return [name for name in ("prompt", *ANSWERS, "label") if name in names]


def batches(table: Table) -> Iterator[pl.DataFrame]:
    """The rows of a table, in order: what is compared (`text`, and of it the `answers`), what must be equal (`same`),
    `Table.INDEX`."""
    for rows in table.batches(columns(table)):
        yield rows.select(Table.INDEX, text=texts(rows), answers=answers(rows), same=same(rows))


def texts(rows: pl.DataFrame) -> pl.Series:
    """What is compared: the prompt, and with it every answer in prose."""
    return _unless_labelled(rows, pl.concat_str([pl.col("prompt"), *_answers(rows)]))


def answers(rows: pl.DataFrame) -> pl.Series:
    """Every answer in prose; of rows with labels, which are the same, the prompt."""
    return _unless_labelled(rows, pl.concat_str(_answers(rows) or [pl.col("prompt")]))


def _answers(rows: pl.DataFrame) -> list[pl.Expr]:
    parts: list[pl.Expr] = []
    for name in ANSWERS:
        if name in rows.columns:
            parts += [pl.lit("\n" + (REJECTED if name == "rejected" else "")), pl.col(name)]
    return parts


def _unless_labelled(rows: pl.DataFrame, prose: pl.Expr) -> pl.Series:
    chosen = pl.when(pl.lit(is_labelled(rows))).then(pl.col("prompt")).otherwise(prose)
    return rows.select(chosen.alias("text")).to_series()


def same(rows: pl.DataFrame) -> pl.Series:
    """What must be equal: the JSON answers, but for case, and the column `label`; "" for prose."""
    parts: list[pl.Expr] = [pl.lit("")]
    labelled = pl.lit(is_labelled(rows))
    for name in ANSWERS:
        if name in rows.columns:
            parts.append(pl.when(labelled).then("\n" + pl.col(name).str.to_lowercase()).otherwise(pl.lit("")))
    if "label" in rows.columns:
        parts.append(pl.col("label"))
    return rows.select(pl.concat_str(parts).alias("same")).to_series()


def is_labelled(rows: pl.DataFrame) -> pl.Series:
    """Whether all answers of a row are JSON objects or arrays."""
    answers = [is_json(rows[name]) for name in ANSWERS if name in rows.columns]
    return pl.Series(np.logical_and.reduce([answer.to_numpy() for answer in answers] or [np.zeros(rows.height, bool)]))


def digest(rows: pl.DataFrame) -> np.ndarray:
    """128 bits a row (two uint64, shape (rows, 2)) that are equal when prompt and answers say the same.

    Prose counts by its words, JSON answers and texts without any word by their characters.
    """
    labelled = is_labelled(rows)
    total = digest_of_characters(codes(same(rows)))
    for name in ("prompt", *ANSWERS):
        if name in rows.columns:
            column = rows[name]
            if name != "prompt":
                column = pl.select(pl.when(pl.lit(labelled)).then(pl.lit("")).otherwise(pl.lit(column))).to_series()
            total = mixed(total * np.uint64(0x9E3779B97F4A7C15) + digest_of_words(column))
    return total


def digest_of_words(column: pl.Series) -> np.ndarray:
    """128 bits a text (shape (texts, 2)) of its words; of its characters where it has none."""
    found = np.zeros((len(column), 2), np.uint64)
    for start, part in blocks(column):
        points = codes(part)
        by_word = words(folded(points))
        sums = _sums(by_word)
        bare = np.flatnonzero(by_word.lengths == 0)
        sums[bare] = ~digest_of_characters(points.take(bare))
        found[start : start + len(part)] = sums
    return found


def digest_of_characters(points: Ragged) -> np.ndarray:
    """128 bits a text (shape (texts, 2)) of all its characters. Takes what `codes` gives."""
    points = points.take(np.arange(points.rows))
    return _sums(Ragged(points.values.astype(np.uint64), points.starts, points.ends))


def _sums(rows: Ragged) -> np.ndarray:
    """Two sums a row, shape (rows, 2): each value scrambled with its place, and the row's length."""
    place = (np.arange(1, len(rows.values) + 1) - np.repeat(rows.starts, rows.lengths)).astype(np.uint64)
    found = np.zeros((rows.rows, 2), np.uint64)
    filled = np.flatnonzero(rows.lengths)
    for lane, odd in enumerate((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)):
        if len(filled):
            scrambled = mixed(rows.values + place * np.uint64(odd))
            found[filled, lane] = np.add.reduceat(scrambled, rows.starts[filled])
    return mixed(found + rows.lengths.astype(np.uint64)[:, None])
