"""Preference pairs: made of scored answers, sifted, and told in figures; every pair set aside keeps its reason.

Pure but for `publish`, which writes them. Knows nothing of models, nor of who scored the answers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import DatasetRef, file_digest

if TYPE_CHECKING:
    from posttrain.spec.sections.length_bias import LengthBiasSpec

Pair = dict[str, Any]
"""id, system, prompt, chosen, rejected, margin (a number, in the unit of the score)."""

COLUMNS = ("id", "system", "prompt", "chosen", "rejected", "margin")
ASIDE = (*COLUMNS, "rule", "value")
"""Columns of pairs set aside: the rule that they broke, and what was found."""

PROSE = ("text", "chat")
"""Task kinds whose answers are prose: there the longer answer need not be the better one."""
LONGER_SHARE = 0.6


def best_against_worst(
    asked: Mapping[str, Any], answers: Sequence[str], scores: Sequence[float], least: float, most: int
) -> tuple[list[Pair], list[Pair]]:
    """Pairs of one prompt's answers, at most `most`, the largest margins first; and, if there is none, the nearest.

    A margin is at least `least` and above 0; of equal margins the earlier answers go first. `asked` has id, system,
    prompt. The second list holds the best and the worst answer of a prompt whose margin is too small, as set aside, or
    an answer that stands alone.
    """
    same = {name: str(asked.get(name) or "") for name in ("id", "system", "prompt")}

    def pair(better: int, worse: int) -> Pair:
        margin = scores[better] - scores[worse]
        return {**same, "chosen": answers[better], "rejected": answers[worse], "margin": margin}

    if len(answers) == 1:
        alone = {**same, "chosen": answers[0], "rejected": "", "margin": 0.0}
        return [], [{**alone, "rule": "alone", "value": "one answer to its prompt"}]
    both_ways = product(range(len(scores)), repeat=2)
    apart = [(i, j) for i, j in both_ways if scores[i] > scores[j] and scores[i] - scores[j] >= least]
    if apart:
        order = sorted(apart, key=lambda both: (scores[both[1]] - scores[both[0]], both))
        return [pair(*both) for both in order[:most]], []
    best, worst = scores.index(max(scores)), scores.index(min(scores))
    near = pair(best, worst if worst != best else len(scores) - 1)
    return [], [{**near, "rule": "min_margin", "value": f"margin {near['margin']:.4g}"}]


# --- filters -------------------------------------------------------------------------------------------------


def sift(pairs: Sequence[Pair], spec: LengthBiasSpec, kind: str) -> tuple[list[Pair], list[Pair]]:
    """The pairs that stay, in order, and those set aside with `rule` and `value`.

    | rule | sets aside |
    | --- | --- |
    | same_sides | chosen and rejected say the same, but for case, blanks and Unicode forms |
    | length_ratio | chosen is more than `max_ratio` times as long as rejected |
    | length_bias | of pairs whose chosen is longer, the longest for their rejected one, down to `max_longer_share` |

    `kind` is the task's, which decides the share where the spec is silent.
    """
    aside: dict[int, tuple[str, str]] = {}
    for place, same in enumerate(_same_sides(pairs)):
        if same:
            aside[place] = ("same_sides", "chosen and rejected are the same")
    for place, pair in enumerate(pairs):
        ratio = _ratio(pair)
        if place not in aside and spec.max_ratio is not None and ratio > spec.max_ratio:
            aside[place] = ("length_ratio", f"chosen is {ratio:.3g} times as long")
    left = [place for place in range(len(pairs)) if place not in aside]
    share = spec.max_longer_share or (LONGER_SHARE if kind in PROSE else 1.0)
    for place in _surplus(pairs, left, share):
        aside[place] = ("length_bias", f"chosen is {_ratio(pairs[place]):.3g} times as long")
    stay = [pair for place, pair in enumerate(pairs) if place not in aside]
    return stay, [{**pairs[place], "rule": rule, "value": value} for place, (rule, value) in sorted(aside.items())]


def _same_sides(pairs: Sequence[Pair]) -> list[bool]:
    import polars as pl

    from posttrain.data.text.preference_rules import same_sides

    if not pairs:
        return []
    columns = {side: [pair[side] for pair in pairs] for side in ("chosen", "rejected")}
    found: list[bool] = same_sides(pl.DataFrame(columns)).to_list()
    return found


def _ratio(pair: Pair) -> float:
    """Characters of chosen over those of rejected; an empty answer counts as one character."""
    return len(pair["chosen"]) / max(1, len(pair["rejected"]))


def _surplus(pairs: Sequence[Pair], places: Sequence[int], share: float) -> list[int]:
    """Of `places`, the pairs to set aside so that the longer answer is chosen in at most `share` of unequal pairs.

    With s pairs whose chosen answer is shorter, at most s · share / (1 - share) with a longer one may stay; yet half of
    these always do, the share met or not: where the better answer is nearly always longer, little else would be left.
    """
    longer = [place for place in places if _ratio(pairs[place]) > 1]
    shorter = sum(len(pairs[place]["chosen"]) < len(pairs[place]["rejected"]) for place in places)
    if share >= 1:
        return []
    room = max(math.ceil(len(longer) / 2), int(shorter * share / (1 - share) + 1e-9))
    return sorted(longer, key=lambda place: (_ratio(pairs[place]), place))[room:]


# --- figures -------------------------------------------------------------------------------------------------


def told(pairs: Sequence[Pair], aside: Sequence[Pair]) -> dict[str, Any]:
    """The figures of `PairsResult` that only the pairs decide."""
    chosen, rejected = ([len(pair[side]) for pair in pairs] for side in ("chosen", "rejected"))
    unequal = [better > worse for better, worse in zip(chosen, rejected, strict=True) if better != worse]
    return {
        "kept": len(pairs),
        "dropped": dict(sorted(Counter(pair["rule"] for pair in aside).items())),
        "mean_margin": mean(pair["margin"] for pair in pairs),
        "chosen_characters": mean(chosen),
        "rejected_characters": mean(rejected),
        "chosen_longer": mean(unequal) if unequal else 0.5,
        "overlap": mean(likeness(pair["chosen"], pair["rejected"]) for pair in pairs),
    }


def likeness(chosen: str, rejected: str) -> float:
    """ROUGE-L of two answers (Lin 2004), 0 to 1: F1 of the longest common subsequence of words."""
    from posttrain.evaluation.metrics.metric import Answer
    from posttrain.evaluation.metrics.prose import rouge_l

    return float(rouge_l(Answer("text", chosen, rejected))[0])


def mean(values: Iterable[float]) -> float:
    """The mean; 0 of nothing."""
    found = list(values)
    return fmean(found) if found else 0.0


# --- files ---------------------------------------------------------------------------------------------------


def publish(pairs: Sequence[Pair], aside: Sequence[Pair], partial: Path, final: Path) -> dict[str, DatasetRef]:
    """`pairs.parquet` and `set_aside.parquet`, with their columns even when empty; references point to `final`."""
    kept = written(pairs, COLUMNS, partial / "pairs.parquet", final)
    return {"pairs": kept, "set_aside": written(aside, ASIDE, partial / "set_aside.parquet", final)}


def written(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path, final: Path) -> DatasetRef:
    """The rows as Parquet, all columns text but `margin`; the reference says `final`, where the file will lie."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.float64() if name == "margin" else pa.string()) for name in columns])
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), path)
    return DatasetRef(uri=str(final / path.name), fingerprint=file_digest(path), rows=len(rows))
