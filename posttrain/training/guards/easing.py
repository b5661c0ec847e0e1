"""A training that goes on more gently from a step on. A pure function of the step: which checkpoint the training was
resumed from, and how often it was killed, has no bearing on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from posttrain.artifacts import Frozen


class Ease(Frozen):
    """From the moment that `step` steps are done."""

    step: int = Field(ge=0)
    rate: float = Field(description="Times the learning rate.")
    pull: float = Field(1.0, description="Times the KL coefficient (DPO: beta).")


def rate_at(eased: Sequence[Ease], step: int) -> float:
    """What the learning rate is multiplied by once `step` steps are done."""
    return math.prod(ease.rate for ease in eased if step >= ease.step)


def pull_at(eased: Sequence[Ease], step: int) -> float:
    """What the KL coefficient is multiplied by once `step` steps are done."""
    return math.prod(ease.pull for ease in eased if step >= ease.step)
