"""Which training rows stand as worked examples before another: never the row itself, nor one much like it.

The examples come in the form in which evaluation shows them (`posttrain.prompts.few_shot`): as earlier turns.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import polars as pl

from posttrain.data.rows import Row
from posttrain.data.synthetic.chance import dice, share
from posttrain.data.synthetic.retell import AUGMENTED, is_single
from posttrain.data.synthetic.similarity import Runs, jaccard, runs
from posttrain.prompts import Message, few_shot

POOL = 5_000
"""Rows to draw examples from: enough for variety, few enough to hold and to send to workers (this project)."""

TRIES = 20
"""Rows looked at for each example that is wanted, before fewer have to do."""

COMPARED = 2_000
"""Characters of a prompt by which twins are told (this project)."""

_GENERAL = "general"
_SHOWN = ("id", "system", "prompt", "completion")


def fits(row: Mapping[str, str], instruction: str) -> bool:
    """Whether the row may have or be an example: the task's own, one question and one answer, told by nobody else."""
    return (
        row.get("system", "") == instruction
        and row.get("group", "") != _GENERAL
        and row.get("origin", "") != AUGMENTED
        and is_single(row)
    )


def pool(batches: Iterable[pl.DataFrame], instruction: str, seed: int, size: int = POOL) -> tuple[Row, ...]:
    """Up to `size` rows that may be examples, drawn at random, sorted by id; the same whatever the batches are."""
    drawn: list[tuple[float, str, Row]] = []
    for rows in batches:
        for row in rows.iter_rows(named=True):
            if fits(row, instruction):
                drawn.append((share(seed, "pool", row["id"]), row["id"], {name: row[name] for name in _SHOWN}))
        drawn = heapq.nsmallest(size, drawn, key=lambda item: item[:2])
    return tuple(row for _, _, row in sorted(drawn, key=lambda item: item[1]))


def draw(pool: Sequence[Row], row: Mapping[str, str], count: int, similarity: float, seed: int) -> list[Row]:
    """Up to `count` rows of the pool, in random order, whose prompts are less than `similarity` like the row's and
    each other's."""
    chance = dice(seed, "examples", row["id"])
    asked = [_runs(row["prompt"])]
    drawn: list[Row] = []
    for at in chance.sample(range(len(pool)), min(len(pool), TRIES * count)):
        if len(drawn) == count:
            break
        candidate = _runs(pool[at]["prompt"])
        if pool[at]["id"] != row["id"] and all(jaccard(candidate, other) < similarity for other in asked):
            drawn.append(pool[at])
            asked.append(candidate)
    return drawn


@lru_cache(maxsize=POOL)
def _runs(prompt: str) -> Runs:
    return runs(prompt[:COMPARED])


def fitted(examples: Sequence[Row], row: Mapping[str, str], characters: int) -> list[Message]:
    """The prompt with as many of the examples as fit, left out from the front; [] when not one does.

    `characters` is for the whole row: system message, examples, prompt and completion.
    """
    for start in range(len(examples)):
        turns = few_shot(examples[start:], row["system"], row["prompt"])
        if sum(len(turn["content"]) for turn in turns) + len(row["completion"]) <= characters:
            return turns
    return []
