"""Curation step: one row in place of several that say the same, exactly or nearly.

Two rows are the same only when their labels are: prompts that differ in a word and in their slots both teach.
Knows nothing of the test split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from posttrain.data import labels
from posttrain.data.rows import Dropped, Row
from posttrain.data.text import key

PERMUTATIONS = 64
SHINGLE = 4
"""Characters: utterances are too short for shingles of words, and some languages have no spaces."""
MARGIN = 0.15
"""MinHash proposes pairs this far below the threshold, since 64 permutations err by about 0.06; counting decides."""


def exact(rows: Sequence[Row]) -> tuple[list[Row], list[Dropped]]:
    """Drop rows that repeat an earlier one but for case, spacing and punctuation of the prompt."""
    first: dict[tuple[str, str], str] = {}
    kept: list[Row] = []
    dropped: list[Dropped] = []
    for row in rows:
        twin = first.setdefault((key(row["prompt"]), _label(row)), row["id"])
        if twin == row["id"]:
            kept.append(row)
        else:
            dropped.append(Dropped(row, "exact_duplicate", f"same words as row {twin}", "once", twin))
    return kept, dropped


def near(rows: Sequence[Row], threshold: float) -> tuple[list[Row], list[Dropped]]:
    """Drop rows whose Jaccard similarity with an earlier kept row of the same label reaches `threshold`.

    Prose has no label: there prompt and completion are compared together. 1 keeps near-duplicates.
    """
    if threshold >= 1:
        return list(rows), []
    twins: dict[int, tuple[int, float]] = {}
    for first, second, similarity in similar(rows, threshold):
        if first not in twins and second not in twins and _same_label(rows[first], rows[second]):
            twins[second] = (first, similarity)
    dropped = [
        Dropped(rows[index], "near_duplicate", f"{similarity:.2f} like row {rows[twin]['id']}", f"below {threshold:g}",
                rows[twin]["id"])
        for index, (twin, similarity) in sorted(twins.items())
    ]  # fmt: skip
    return [row for index, row in enumerate(rows) if index not in twins], dropped


def similar(rows: Sequence[Row], threshold: float) -> Iterator[tuple[int, int, float]]:
    """Pairs of row indexes (first < second) and their Jaccard similarity, at least `threshold`.

    Compared are runs of four characters of the text reduced to its words. MinHash LSH (fixed seed) proposes pairs;
    the similarity is then counted exactly, so that chance drops nothing. Pairs come in the order of the rows.
    """
    from datasketch import MinHash, MinHashLSH

    shingles = [_shingles(row) for row in rows]
    index = MinHashLSH(threshold=max(0.1, threshold - MARGIN), num_perm=PERMUTATIONS)
    hashes = MinHash.bulk([[part.encode() for part in sorted(parts)] for parts in shingles], num_perm=PERMUTATIONS)
    for second, signature in enumerate(hashes):
        for first in sorted(index.query(signature)):
            both = shingles[first] & shingles[second]
            similarity = len(both) / len(shingles[first] | shingles[second])
            if similarity >= threshold:
                yield first, second, similarity
        index.insert(second, signature)


def clusters(rows: Sequence[Row], threshold: float) -> dict[str, str]:
    """Row id -> id of the first row of its cluster, for rows that are near-duplicates whatever their labels.

    Rows with a twin only; chains count as one cluster.
    """
    parent: dict[int, int] = {}

    def root(index: int) -> int:
        while parent.get(index, index) != index:
            index = parent[index]
        return index

    for first, second, _ in similar(rows, threshold):
        parent[max(root(first), root(second))] = min(root(first), root(second))
    members = {*parent, *parent.values()}
    return {rows[index]["id"]: rows[root(index)]["id"] for index in sorted(members)}


def _label(row: Row) -> str:
    return row["completion"].casefold()


def _same_label(first: Row, second: Row) -> bool:
    labelled = labels.is_json(first["completion"]) or labels.is_json(second["completion"])
    return not labelled or _label(first) == _label(second)


def _shingles(row: Row) -> frozenset[str]:
    text = row["prompt"] if labels.is_json(row["completion"]) else f"{row['prompt']}\n{row['completion']}"
    plain = f" {key(text)} "
    return frozenset(plain[at : at + SHINGLE] for at in range(max(1, len(plain) - SHINGLE + 1)))
