"""From sums over rows to a metric's value. Each takes sums (..., k) and the number of rows and returns (...)."""

from __future__ import annotations

import numpy as np

from posttrain.evaluation.statistics import Floats

CHRF_BETA = 2.0
"""Recall counts twice as much as precision: chrF2, as sacrebleu has it."""


def mean(sums: Floats, rows: int) -> Floats:
    """Share or mean over rows; sums are (..., 1)."""
    return np.asarray(sums[..., 0] / rows)


def mean_of_last(sums: Floats, rows: int) -> Floats:
    """Mean over rows of the last of several columns; sums are (..., k)."""
    return np.asarray(sums[..., -1] / rows)


def micro_f1(sums: Floats, rows: int) -> Floats:
    """2 TP / (2 TP + FP + FN); sums are (..., 3). Nothing to find and nothing found is 1."""
    hits, others = 2 * sums[..., 0], sums[..., 1] + sums[..., 2]
    return np.where(hits + others == 0, 1.0, hits / np.maximum(hits + others, 1e-12))


def micro_precision(sums: Floats, rows: int) -> Floats:
    """TP / (TP + FP); sums are (..., 3). Nothing found is 0, or 1 where there is nothing to find."""
    hits, wrong, missed = sums[..., 0], sums[..., 1], sums[..., 2]
    return np.where(hits + wrong == 0, missed == 0, hits / np.maximum(hits + wrong, 1e-12))


def micro_recall(sums: Floats, rows: int) -> Floats:
    """TP / (TP + FN); sums are (..., 3). Nothing to find is 0, or 1 where nothing is found either."""
    hits, wrong, missed = sums[..., 0], sums[..., 1], sums[..., 2]
    return np.where(hits + missed == 0, wrong == 0, hits / np.maximum(hits + missed, 1e-12))


def share(sums: Floats, rows: int) -> Floats:
    """The first sum as a share of the second; sums are (..., 2). None of nothing is 1."""
    part, whole = sums[..., 0], sums[..., 1]
    return np.where(whole == 0, 1.0, part / np.maximum(whole, 1e-12))


def rate(sums: Floats, rows: int) -> Floats:
    """The same of something bad: none of nothing is 0."""
    return np.where(sums[..., 1] == 0, 0.0, share(sums, rows))


def majority(sums: Floats, rows: int) -> Floats:
    """Share of all rows that belong to the commonest class; sums are (..., classes)."""
    return np.asarray(sums.max(axis=-1) / rows) if sums.shape[-1] else np.zeros(sums.shape[:-1])


def macro_f1(sums: Floats, rows: int) -> Floats:
    """Mean over classes of 2 hits / (expected + predicted); sums are (..., 3 * classes), these three for each class.

    A class that no row expects is left out: a resample may have drawn none of its rows.
    """
    by_class = sums.reshape(*sums.shape[:-1], -1, 3)
    hits, expected, predicted = (by_class[..., place] for place in range(3))
    scores = np.where(expected > 0, 2 * hits / np.maximum(expected + predicted, 1.0), 0.0)
    return np.asarray(scores.sum(axis=-1) / np.maximum((expected > 0).sum(axis=-1), 1))


def chrf(sums: Floats, rows: int) -> Floats:
    """Corpus chrF2, 0 to 1; sums are (..., 3 * orders): for each order the character n-grams of the outputs, of the
    expected completions, and those that match.

    As sacrebleu 2.6 has it, which says 0 to 100: precision and recall are averaged over the orders that both have.
    """
    by_order = sums.reshape(*sums.shape[:-1], -1, 3)
    found, wanted, hits = (by_order[..., place] for place in range(3))
    orders = np.maximum(((found > 0) & (wanted > 0)).sum(axis=-1), 1)
    precision = (hits / np.maximum(found, 1.0)).sum(axis=-1) / orders
    recall = (hits / np.maximum(wanted, 1.0)).sum(axis=-1) / orders
    weight = CHRF_BETA**2
    below = weight * precision + recall
    return np.where(below == 0, 0.0, (1 + weight) * precision * recall / np.maximum(below, 1e-12))


def exponential_mean(sums: Floats, rows: int) -> Floats:
    """exp(sum of negative log-likelihoods / tokens); sums are (..., 2)."""
    return np.exp(sums[..., 0] / sums[..., 1])
