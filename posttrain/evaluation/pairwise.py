"""How well a reward model tells the better of two answers, and what else than quality it may go by.

Several pairs may share a prompt and then stand or fall together, so intervals count prompts, not pairs. Pure: scores
and texts in, figures out; knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from posttrain.artifacts import Frozen
from posttrain.evaluation.scores import Score

Floats = NDArray[np.float64]

NORMAL = 1.959963984540054
"""Quantile of the normal distribution for a 95 % interval."""
MATCHED = 0.1
"""Lengths that differ by no more than this share of the longer one are alike."""


@dataclass(frozen=True)
class Pairs:
    """Pairs as a reward model scored them, each sequence of one entry a pair. `prompts` says which belong together."""

    prompts: Sequence[str]
    chosen: Sequence[str]
    rejected: Sequence[str]
    chosen_scores: Floats
    rejected_scores: Floats

    @property
    def margins(self) -> Floats:
        """Chosen minus rejected, (pairs,)."""
        return self.chosen_scores - self.rejected_scores

    @property
    def lengths(self) -> tuple[Floats, Floats]:
        """Characters of the chosen and of the rejected answers, (pairs,) each."""
        chosen, rejected = (np.array([len(text) for text in side], float) for side in (self.chosen, self.rejected))
        return chosen, rejected


class SliceAccuracy(Frozen):
    """Accuracy on a part of the pairs."""

    name: str
    pairs: int
    accuracy: Score | None = Field(description="None when the part is empty")


class BiasReport(Frozen):
    """What a reward model may go by other than quality."""

    slices: tuple[SliceAccuracy, ...] = Field(description="By length of the chosen answer, and by language.")
    length_correlation: float = Field(description="Spearman's, of score and characters over all answers; 0: none.")
    prefers_longer: float = Field(description="Share of pairs of unequal length whose longer answer it prefers.")
    people_prefer_longer: float = Field(description="The same of the people who chose: what length alone would get.")
    position_flips: int = Field(description="Pairs whose preference changes when the answers change places.")

    def of(self, name: str) -> Score | None:
        """The accuracy on a slice; None when there is no such slice or it is empty."""
        return next((part.accuracy for part in self.slices if part.name == name), None)


def accuracy(margins: Floats, prompts: Sequence[str]) -> Score:
    """Share of pairs with a positive margin (a tie counts half), with a 95 % interval that prompts are drawn for.

    Wilson's interval for as many independent pairs as these are worth: p (1 - p) over the variance between prompts, at
    most the pairs there are. Where all are right or all wrong, which shows no variance, the prompts are counted.
    """
    hits = np.where(margins > 0, 1.0, np.where(margins == 0, 0.5, 0.0))
    value, count = float(hits.mean()), len(hits)
    _, group = np.unique(np.asarray(prompts, object).astype(str), return_inverse=True)
    groups = int(group.max()) + 1
    off = np.bincount(group, hits - value, groups)
    off[np.abs(off) < 1 / (4 * count)] = (
        0.0  # rounding: sums of halves differ from their share by 1 / (2 count) at least
    )
    variance = float((off**2).sum()) / count**2 * groups / max(1, groups - 1)
    spread = value * (1 - value)
    worth = groups if spread == 0 or variance == 0 else min(float(count), spread / variance)
    return Score(value=value, **dict(zip(("low", "high"), wilson(value, worth), strict=True)))


def wilson(share: float, count: float) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a share seen in `count` independent trials."""
    square = NORMAL**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = NORMAL / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def bias_of(pairs: Pairs, swapped: Floats) -> BiasReport:
    """The report on scored pairs.

    `swapped` are the margins, chosen minus rejected still, of the first pairs when asked about in the other order.
    """
    from scipy import stats

    chosen, rejected = pairs.lengths
    margins, unequal = pairs.margins, chosen != rejected
    longer = np.sign(chosen - rejected)
    scores = np.concatenate([pairs.chosen_scores, pairs.rejected_scores])
    characters = np.concatenate([chosen, rejected])
    constant = not len(scores) or np.ptp(scores) == 0 or np.ptp(characters) == 0
    return BiasReport(
        slices=tuple(_sliced(pairs)),
        length_correlation=0.0 if constant else float(stats.spearmanr(scores, characters).statistic),
        prefers_longer=_share((np.sign(margins) == longer)[unequal]),
        people_prefer_longer=_share((longer > 0)[unequal]),
        position_flips=int((np.sign(margins[: len(swapped)]) != np.sign(swapped)).sum()),
    )


def _sliced(pairs: Pairs) -> list[SliceAccuracy]:
    from posttrain.data.text.language import languages

    chosen, rejected = pairs.lengths
    alike = np.abs(chosen - rejected) <= MATCHED * np.maximum(chosen, rejected)
    said = np.array(languages(pl.Series("chosen", list(pairs.chosen), dtype=pl.String)).to_list(), object)
    known = np.isin(said, ("en", "zh"))
    parts = {
        "chosen longer": chosen > rejected,
        "chosen shorter": chosen < rejected,
        "length matched": alike,
        "en": said == "en",
        "zh": said == "zh",
        "other language": ~known,
    }
    return [_part(name, members.astype(bool), pairs) for name, members in parts.items()]


def _part(name: str, members: NDArray[np.bool_], pairs: Pairs) -> SliceAccuracy:
    count = int(members.sum())
    prompts = [prompt for prompt, one in zip(pairs.prompts, members, strict=True) if one]
    return SliceAccuracy(name=name, pairs=count, accuracy=accuracy(pairs.margins[members], prompts) if count else None)


def _share(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else 0.5
