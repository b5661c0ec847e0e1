"""Win rates: how often a judge prefers the output, and how often it would if both answers were of one length.

Judges, people too, prefer longer answers. Dubois et al. (2024, arXiv 2404.04475, AlpacaEval 2.0) fit a logistic
regression of the preference on who answers, on tanh of the standardised length difference and on how hard the
instruction is, and set the length term to zero. Here:

    P(the output is preferred) = σ(a + b · tanh(d / s))        length-controlled win rate = σ(a)

d: characters of the output beyond the other answer's; s: the standard deviation of d over the rows. Simpler than
theirs: one pair of models at a time, so a is the intercept; no term for the instruction's difficulty (they take it from
many models' answers); a tie counts as half a win. Where one model is always the shorter, no row says what equal lengths
would bring, and a and b run away together. They add answers of one model that was asked to be brief or wordy; here b is
held towards 0 by a normal prior (`PRIOR`). With many rows, or lengths on both sides, the prior hardly matters.

A regression is no function of sums, and resampling needs one: so each row's tanh is shared out between the two nearest
of `NODES` points, and the regression reads rows and wins at each point. Knows nothing of judges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posttrain.evaluation.metrics.metric import Cells
from posttrain.evaluation.statistics import Floats

PREFERENCE, LONGER, AGREED = "win_rate", "characters_longer", "judge_position_agreement"
"""Columns of a row: 1, 0.5 or 0; the length difference in characters; whether both orders gave the same verdict."""

NODES = np.linspace(-1, 1, 33)
PRIOR = 4.0
"""Weight of b² / 2 beside the log-likelihood: a standard deviation of 0.5 (ours). On GPT-4's preferences for eight
models of AlpacaEval (637 of 805 prompts) it comes within 3.8 points of the published rates on average, rank correlation
0.93; a prior of 0.01 within 9.9 and 0.69; the raw rates within 4.0 and 0.88. Chosen by these figures, out of seven."""
_MOST = 15.0
"""Bound of a and b: σ(15) differs from 1 by 3e-7; a judge that always says the same would drive them to infinity."""
_STEPS = 40


def by_length(tables: Sequence[Sequence[Cells]]) -> list[Floats]:
    """For each table (rows, 2 · nodes): the row's share of each node, then that times its preference."""
    return [_shared_out(np.array([list(row) for row in rows], dtype=np.float64).reshape(-1, 2)) for rows in tables]


def _shared_out(cells: Floats) -> Floats:
    preference, longer = cells[:, 0], cells[:, 1]
    spread = longer.std() if len(longer) else 0.0
    place = (np.tanh(longer / spread if spread else longer * 0) + 1) / 2 * (len(NODES) - 1)
    left = np.minimum(place.astype(np.int64), len(NODES) - 2)
    rows = np.arange(len(cells))
    shares = np.zeros((len(cells), len(NODES)))
    shares[rows, left] = 1 - (place - left)
    shares[rows, left + 1] = place - left
    return np.concatenate([shares, shares * preference[:, None]], axis=1)


def length_controlled(sums: Floats, rows: int) -> Floats:
    """σ(a) of the regression, by Newton's method; sums are (..., 2 · nodes), of any leading shape."""
    count, won = sums[..., : len(NODES)], sums[..., len(NODES) :]
    intercept, slope = np.zeros(sums.shape[:-1]), np.zeros(sums.shape[:-1])
    for _ in range(_STEPS):
        chance = _sigmoid(intercept[..., None] + slope[..., None] * NODES)
        left, weight = won - count * chance, count * chance * (1 - chance)
        down, across = left.sum(axis=-1), (left * NODES).sum(axis=-1) - PRIOR * slope
        flat = weight.sum(axis=-1) + 1e-9
        mixed, steep = (weight * NODES).sum(axis=-1), (weight * NODES**2).sum(axis=-1) + PRIOR
        below = np.maximum(flat * steep - mixed**2, 1e-12)
        intercept = _step(intercept, (steep * down - mixed * across) / below)
        slope = _step(slope, (flat * across - mixed * down) / below)
    return _sigmoid(intercept)


def _step(value: Floats, change: Floats) -> Floats:
    return np.clip(value + np.clip(change, -1, 1), -_MOST, _MOST)


def _sigmoid(value: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-value)))
