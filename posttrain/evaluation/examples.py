"""Which training rows to show a model as worked examples: the same for every prompt, or those most like it.

Pure; knows nothing of models beyond a length.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from posttrain.evaluation import parse
from posttrain.prompts import Message, few_shot

Row = Mapping[str, str]


def choose(rows: Sequence[Row], count: int, seed: int = 0) -> list[Row]:
    """`count` rows for few-shot prompts: of different labels first, at random otherwise, the same for every prompt.

    The label is the completion's `intent` where it has one, else the names of its fields.
    """
    shuffled = random.Random(seed).sample(rows, len(rows))
    chosen: list[Row] = []
    seen: set[str] = set()
    for row in shuffled:
        if len(chosen) == count:
            return chosen
        if (label := _label(row)) not in seen:
            seen.add(label)
            chosen.append(row)
    others = (row for row in shuffled if row not in chosen)
    return chosen + [row for row, _ in zip(others, range(count - len(chosen)), strict=False)]


def nearest(rows: Sequence[Row], asked: Sequence[Row], count: int) -> list[list[Row]]:
    """For each row asked the `count` rows whose prompts are most like its own, the most like last, where models look.

    Alike is the cosine of words and pairs of words, in any language (`lexical_vectors`); of equal ones the earlier row
    counts as nearer. Rows of a prompt that is asked itself are left out: they would give its answer away.
    """
    import numpy as np

    from posttrain.data.embedding.embed import lexical_vectors
    from posttrain.data.text.words import key

    if not count or not rows:
        return [[] for _ in asked]
    known = lexical_vectors([row["prompt"] for row in rows])
    keys = [key(row["prompt"]) for row in rows]
    found = []
    for start in range(0, len(asked), 256):
        batch = asked[start : start + 256]
        likeness = lexical_vectors([row["prompt"] for row in batch]) @ known.T
        for row, values in zip(batch, likeness, strict=True):
            order = np.argsort(-values, kind="stable")
            own = key(row["prompt"])
            best = [rows[place] for place in order[: count + 50] if keys[place] != own][:count]
            found.append(best[::-1])
    return found


def _label(row: Row) -> str:
    value = parse.find(row["completion"]).value
    if not isinstance(value, dict):
        return row["completion"]
    return str(value["intent"]) if "intent" in value else ",".join(sorted(map(str, value)))


def fit(examples: Sequence[Row], row: Row, length: Callable[[list[Message]], int], room: int) -> list[Message]:
    """A few-shot prompt of at most `room` tokens: examples are left out from the front until it fits.

    `length` counts a conversation's tokens.
    """
    for start in range(len(examples) + 1):
        conversation = few_shot(examples[start:], row["system"], row["prompt"])
        if length(conversation) <= room:
            return conversation
    return few_shot([], row["system"], row["prompt"])
