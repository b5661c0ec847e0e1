"""Curation step: cut the validation split from the training rows, group by group, never through a cluster.

Works on arrays (one entry a row), so that five million rows need no row objects. Knows nothing of how clusters were
found: near-duplicates, the user's own column (a customer who must not be on both sides), or both (`joined`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl


def validation_rows(groups: pl.Series, clusters: np.ndarray | None, wanted: int, seed: int) -> np.ndarray:
    """Positions of the rows that become validation rows, in random order.

    Args: `groups` is each row's stratum: validation has them in the proportions of all rows. `clusters` is each row's
    cluster number (any integers; None: every row by itself): the rows of one stay on one side, in the stratum of the
    first of them. `wanted` is a number of rows: at most a tenth of all, and at least one when there are two.
    """
    count = len(groups)
    quota = min(wanted, max(1, count // 10)) if count > 1 else 0
    members, sizes, firsts = _members(clusters, count)
    home, names = _codes(groups[firsts])
    candidates = np.argsort(home, kind="stable")
    ends = np.cumsum(np.bincount(home, minlength=len(names))) if count else np.zeros(0, np.int64)
    rows_of = np.bincount(home, weights=sizes, minlength=len(names)).astype(np.int64)
    shared = _quotas({name: int(rows) for name, rows in zip(names, rows_of, strict=True)}, quota)
    rng = random.Random(seed)
    taken: list[int] = []
    for name, end, start in zip(names, ends, [0, *ends], strict=False):
        order = candidates[start:end].tolist()
        rng.shuffle(order)
        taken += _fill(order, sizes, shared[name])
    starts = np.cumsum(sizes) - sizes
    chosen = [members[starts[cluster] : starts[cluster] + sizes[cluster]] for cluster in taken]
    positions: list[int] = np.concatenate(chosen).tolist() if chosen else []
    rng.shuffle(positions)
    return np.array(positions, np.int64)


def mask(groups: pl.Series, clusters: np.ndarray | None, wanted: int, seed: int) -> np.ndarray:
    """Whether each row is a validation row: `validation_rows` as one flag a row."""
    flags = np.zeros(len(groups), bool)
    flags[validation_rows(groups, clusters, wanted, seed)] = True
    return flags


def joined(clusters: np.ndarray, keys: pl.Series) -> np.ndarray:
    """Cluster numbers for rows that share a cluster *or* a key, through any chain of rows; the key "" joins nothing.

    `keys` is the user's own column, as text: all rows of a customer, a document or a dialogue stay on one side.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keyed = (keys != "").to_numpy()
    first = _ranks(np.asarray(clusters))
    second = _codes(keys.filter(keys != ""))[0]
    size = int(first.max(initial=-1)) + 1 + int(second.max(initial=-1)) + 1
    edges = (first[keyed], second + (int(first.max(initial=-1)) + 1))
    graph = coo_array((np.ones(len(second), bool), edges), shape=(size, size))
    component = np.asarray(connected_components(graph, directed=False)[1], np.int64)
    return np.asarray(component[first])


def _codes(texts: pl.Series) -> tuple[np.ndarray, list[str]]:
    """Each text as a number, from 0 in the order of first appearance; and the texts in that order."""
    names = texts.unique(maintain_order=True)
    numbers = pl.DataFrame({"text": names, "code": pl.int_range(len(names), eager=True)})
    codes = texts.to_frame("text").join(numbers, on="text", how="left", maintain_order="left")["code"]
    return codes.to_numpy(), names.to_list()


def _ranks(numbers: np.ndarray) -> np.ndarray:
    """The same numbering without gaps, in the order of first appearance."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _members(clusters: np.ndarray | None, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows cluster by cluster, how many each has, and its first; clusters in the order of their first rows."""
    if clusters is None:
        return np.arange(count), np.ones(count, np.int64), np.arange(count)
    ranks = _ranks(np.asarray(clusters))
    members = np.argsort(ranks, kind="stable")
    sizes = np.bincount(ranks)
    return members, sizes, members[np.cumsum(sizes) - sizes]


def _fill(order: Sequence[int], sizes: np.ndarray, quota: int) -> list[int]:
    """Whole clusters, as they come, as long as they fit."""
    chosen: list[int] = []
    for cluster in order:
        if not quota:
            break
        if sizes[cluster] <= quota:
            chosen.append(cluster)
            quota -= int(sizes[cluster])
    return chosen


def _quotas(sizes: Mapping[str, int], wanted: int) -> dict[str, int]:
    """`wanted` shared out in proportion to the sizes; what rounding leaves goes to the largest remainders."""
    total = sum(sizes.values()) or 1
    quotas = {group: wanted * size // total for group, size in sizes.items()}
    rest = sorted(sizes, key=lambda group: (-(wanted * sizes[group] % total), group))
    for group in rest[: wanted - sum(quotas.values())]:
        quotas[group] += 1
    return quotas
