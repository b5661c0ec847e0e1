"""Curation step: general rows among the domain's, against forgetting; then one random order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from posttrain.data.rows import Row


def mix(
    domain: Sequence[Row], general: Sequence[Row], share: float, max_rows: int | None, seed: int
) -> tuple[list[Row], int]:
    """(rows in random order, how many of them are general). `share` is that of general rows in the result.

    Of `general`, as many as the share asks for are drawn without replacement, or all when there are too few. With
    `max_rows`, both parts are cut in proportion.
    """
    rng = random.Random(seed)
    chosen = list(domain)
    rng.shuffle(chosen)
    if max_rows is not None:
        chosen = chosen[: max(1, round(max_rows * (1 - share)))]
    wanted = round(len(chosen) * share / (1 - share))
    if max_rows is not None:
        wanted = min(wanted, max_rows - len(chosen))
    extra = rng.sample(list(general), min(wanted, len(general)))
    mixed = chosen + extra
    rng.shuffle(mixed)
    return mixed, len(extra)
