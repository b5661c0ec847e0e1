"""How many worked examples a few-shot prompt shows, and which: as the spec says, or searched for by measuring.

The search asks about training rows that are shown to nobody, so that the validation rows on which the winner is then
measured had no part in choosing it. Knows nothing of models: whoever calls brings the function that tries a choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.evaluation import examples
from posttrain.prompts import Message

Row = Mapping[str, str]
Selection = Literal["diverse", "similar"]

POOL = 20_000
"""Rows that examples are drawn from, at most: beyond, a more similar one is rarely found, and memory is."""
TRIED_ON = 40
"""Training rows that a search asks about."""


class FewShot(Frozen):
    """So many examples, chosen so: `diverse` ones, the same for every prompt, or those most `similar` to each."""

    examples: int
    selection: Selection = "diverse"

    def __str__(self) -> str:
        return f"{self.examples} {self.selection} examples"

    def conversations(
        self, pool: Sequence[Row], rows: Sequence[Row], length: Callable[[list[Message]], int], room: int, seed: int
    ) -> list[list[Message]]:
        """The prompt of each row, with as many of its examples as fit into `room` tokens (`length` counts them)."""
        if self.selection == "similar":
            shown = examples.nearest(pool[:POOL], rows, self.examples)
        else:
            shown = [examples.choose(pool, self.examples, seed)] * len(rows)
        return [examples.fit(each, row, length, room) for each, row in zip(shown, rows, strict=True)]


CHOICES = tuple(
    FewShot(examples=count, selection=selection) for count in (2, 4, 8) for selection in ("diverse", "similar")
)


def search(
    pool: Sequence[Row], attempt: Callable[[FewShot, Sequence[Row], Sequence[Row]], float], seed: int
) -> FewShot:
    """The best of `CHOICES`; of equals the one with fewer examples, then diverse before similar.

    `attempt(choice, pool, rows)` is the main metric over `rows`, which are training rows that are left out of the pool
    given to it. Too few training rows to leave some out: four diverse ones, untried.
    """
    places = list(range(len(pool)))
    tried = set(random.Random(seed).sample(places, min(TRIED_ON, len(places) // 2)))
    if not tried:
        return FewShot(examples=4)
    rows, rest = [pool[place] for place in sorted(tried)], [pool[place] for place in places if place not in tried]
    return max(CHOICES, key=lambda choice: attempt(choice, rest, rows))  # max keeps the first of equals
