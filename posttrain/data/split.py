"""Curation step: cut the validation split from the training rows."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from posttrain.data.rows import Row


def split(
    rows: Sequence[Row], validation_rows: int, seed: int, clusters: Mapping[str, str]
) -> tuple[list[Row], list[Row]]:
    """(train, validation). Validation has the groups (intents) in the proportions of `rows`, in random order.

    Rows of one cluster (row id -> cluster) stay on one side, so that no validation row has a near twin in training.
    At most a tenth of the rows, and at least one when there are two, become validation rows.
    """
    wanted = min(validation_rows, max(1, len(rows) // 10)) if len(rows) > 1 else 0
    rng = random.Random(seed)
    strata: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    home: dict[str, str] = {}
    for row in rows:
        cluster = clusters.get(row["id"], row["id"])
        group = home.setdefault(cluster, row.get("group", ""))
        strata[group][cluster].append(row)
    sizes = {group: sum(map(len, found.values())) for group, found in strata.items()}
    validation: list[Row] = []
    for group, quota in _quotas(sizes, wanted).items():
        candidates = list(strata[group].values())
        rng.shuffle(candidates)
        validation += _fill(candidates, quota)
    taken = {row["id"] for row in validation}
    rng.shuffle(validation)
    return [row for row in rows if row["id"] not in taken], validation


def _fill(candidates: list[list[Row]], quota: int) -> list[Row]:
    """Whole clusters, as they come, as long as they fit."""
    chosen: list[Row] = []
    for cluster in candidates:
        if len(chosen) + len(cluster) <= quota:
            chosen += cluster
    return chosen


def _quotas(sizes: Mapping[str, int], wanted: int) -> dict[str, int]:
    """`wanted` shared out in proportion to the sizes; what rounding leaves goes to the largest remainders."""
    total = sum(sizes.values()) or 1
    quotas = {group: wanted * size // total for group, size in sizes.items()}
    rest = sorted(sizes, key=lambda group: (-(wanted * sizes[group] % total), group))
    for group in rest[: wanted - sum(quotas.values())]:
        quotas[group] += 1
    return quotas
