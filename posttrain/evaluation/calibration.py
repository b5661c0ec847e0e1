"""Is a reward model as sure as it is right? The sigmoid of a margin ought to be the share of such pairs it gets right.

p(first better) = sigmoid(margin / temperature + offset); a model as trained has temperature 1 and offset 0. Pure; knows
no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from posttrain.artifacts import Frozen

Floats = NDArray[np.float64]

BINS = 10
SHARPEST, FLATTEST = 0.02, 50.0
"""Bounds of a temperature: pairs that are all right would ask for 0, pairs at random for infinity."""
RIDGE = 1e-3
"""Pull of a refit towards what it was before, in pairs: keeps it finite when people agree with the model every time."""


class Calibration(Frozen):
    """How far confidence and accuracy are apart."""

    ece: float = Field(description="Expected calibration error as trained, 0 to 0.5; 10 bins of confidence.")
    temperature: float = Field(description="What margins are divided by to be probabilities, fitted on all pairs.")
    ece_scaled: float = Field(description="The error at temperatures fitted on the other half of the prompts.")


class Reviewed(Frozen):
    """A pair that people reviewed: the reward model's scores of both answers, and which one is better."""

    first: float
    second: float
    better: Literal["first", "second"]


class Refit(Frozen):
    """A recalibration, and what it changed on the reviewed pairs."""

    temperature: float
    offset: float = Field(description="How much more the first answer is worth than its score says.")
    pairs: int
    loss_before: float = Field(description="Mean negative log-likelihood of what people said, in nats a pair.")
    loss_after: float


def probabilities(margins: Floats | float, temperature: float = 1.0, offset: float = 0.0) -> Floats:
    """p(first better) of each margin, first minus second; of the margins' shape."""
    from scipy.special import expit

    return np.asarray(expit(margins / temperature + offset), dtype=np.float64)


def ece(margins: Floats, temperature: float = 1.0) -> float:
    """Expected calibration error of chosen-minus-rejected margins.

    The confidence in the preferred answer, 0.5 to 1, in ten bins of equal width: the mean difference between
    confidence and share of right preferences, weighted by pairs. A tie is half right.
    """
    sure = probabilities(np.abs(margins), temperature)
    right = np.where(margins > 0, 1.0, np.where(margins == 0, 0.5, 0.0))
    bins = np.minimum(((sure - 0.5) * 2 * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, sure - right, BINS)
    return float(np.abs(gaps).sum() / len(margins))


def fit_temperature(margins: Floats) -> float:
    """The temperature at which the pairs' outcomes are likeliest (Guo et al. 2017, arXiv 1706.04599)."""
    from scipy.optimize import minimize_scalar

    def loss(log: float) -> float:
        return float(np.logaddexp(0, -margins / np.exp(log)).mean())

    found = minimize_scalar(loss, bounds=(np.log(SHARPEST), np.log(FLATTEST)), method="bounded")
    return float(np.exp(found.x))


def calibrate(margins: Floats, prompts: Sequence[str]) -> Calibration:
    """Calibration of chosen-minus-rejected margins. `ece_scaled` is honest: no pair was fitted by its own prompt."""
    _, group = np.unique(np.asarray(prompts, object).astype(str), return_inverse=True)
    half = group % 2 == 0
    scaled = margins.copy()
    for part in (half, ~half):
        if part.any() and (~part).any():
            scaled[part] = margins[part] / fit_temperature(margins[~part])
    return Calibration(ece=ece(margins), temperature=fit_temperature(margins), ece_scaled=ece(scaled))


def refit(reviewed: Sequence[Reviewed], temperature: float = 1.0, offset: float = 0.0) -> Refit:
    """Temperature and offset from pairs that people reviewed (S4), starting from those in use.

    Give the answer that the policy wrote first and another's second, and the offset says how far the model overrates
    the policy (below 0) since it was trained; in random order it ought to be 0. Raises: `ValueError` without a pair.
    """
    from scipy.optimize import minimize

    if not reviewed:
        raise ValueError("found no reviewed pair, expected at least one; review some first")
    margins = np.array([pair.first - pair.second for pair in reviewed])
    signs = np.array([1.0 if pair.better == "first" else -1.0 for pair in reviewed])

    def loss(values: Floats) -> float:
        slope, shift = values
        return float(np.logaddexp(0, -signs * (margins * slope + shift)).mean())

    start = np.array([1 / temperature, offset])

    def pulled(values: Floats) -> float:
        return loss(values) + RIDGE / len(reviewed) * float(((values - start) ** 2).sum())

    found = minimize(pulled, start, bounds=[(1 / FLATTEST, 1 / SHARPEST), (None, None)], method="L-BFGS-B").x
    return Refit(
        temperature=float(1 / found[0]),
        offset=float(found[1]),
        pairs=len(reviewed),
        loss_before=loss(start),
        loss_after=loss(found),
    )
