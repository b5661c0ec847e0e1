"""Curation step: drop training rows that give away rows on which the model is measured."""

from __future__ import annotations

from collections.abc import Sequence

from posttrain.data.rows import Dropped, Row
from posttrain.data.text import key, words


def decontaminate(rows: Sequence[Row], held_out: Sequence[Row], ngram: int) -> tuple[list[Row], list[Dropped]]:
    """Drop rows whose prompt has the words of a held-out prompt, or shares `ngram` consecutive words with one.

    With `ngram` 0 only whole prompts are compared. `twin` is the held-out row.
    """
    whole = {key(row["prompt"]): row["id"] for row in reversed(held_out)}
    parts = {part: row["id"] for row in reversed(held_out) for part in _ngrams(row["prompt"], ngram)}
    kept: list[Row] = []
    dropped: list[Dropped] = []
    for row in rows:
        prompt = key(row["prompt"])
        shared = next((part for part in _ngrams(row["prompt"], ngram) if part in parts), None)
        if prompt in whole:
            dropped.append(Dropped(row, "contaminated", "same prompt as a held-out row", "none", whole[prompt]))
        elif shared:
            value = f"shares {' '.join(shared)!r}"
            dropped.append(Dropped(row, "contaminated", value, f"fewer than {ngram} words", parts[shared]))
        else:
            kept.append(row)
    return kept, dropped


def _ngrams(text: str, size: int) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[at : at + size]) for at in range(len(found) - size + 1)] if size else []
