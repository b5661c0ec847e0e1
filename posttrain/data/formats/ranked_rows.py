"""Rankings as pairs: a row with K ranked answers becomes a row for every two of them that differ in rank.

So people's rankings train on all K (K - 1) / 2 comparisons that they hold (InstructGPT, arXiv 2203.02155, §3.5). Knows
frames of rows only.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl


def by_pair(rows: pl.DataFrame, row_id: Callable[[str], str]) -> pl.DataFrame:
    """The rows with `chosen` and `rejected` in place of the lists that `answers.ranking` put there.

    The best go first, against the worst first. A pair is told by its line and its number: `rows.jsonl:7.2`; `row_id`
    makes an id of that. Rows with a problem stay as they are.
    """
    made: list[dict[str, str]] = []
    for row in rows.iter_rows(named=True):
        if row["problem_rule"]:
            made.append(row)
            continue
        for number, (better, worse) in enumerate(_pairs(json.loads(row["chosen"]), json.loads(row["rejected"])), 1):
            source = f"{row['source']}.{number}"
            made.append({**row, "id": row_id(source), "source": source, "chosen": better, "rejected": worse})
    return pl.DataFrame(made, schema=rows.schema)


def _pairs(answers: list[str], ranks: list[float]) -> list[tuple[str, str]]:
    """(better, worse), those farthest apart in rank first."""
    places = range(len(answers))
    apart = sorted((ranks[i] - ranks[j], i, j) for i in places for j in places if ranks[i] < ranks[j])
    return [(answers[i], answers[j]) for _, i, j in apart]
