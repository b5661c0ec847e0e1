"""The reward of online training: plain functions, their weights, and every signal by name. Knows no trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.errors import DataError
from posttrain.training.rewards import REWARDS, Reward, RewardModel, RewardTerm, functions, weights_at

if TYPE_CHECKING:
    from posttrain.spec.sections.harm import HarmSpec


@dataclass(frozen=True)
class Signals:
    """Reward functions and what each weighs at an update (from 0)."""

    functions: Sequence[Reward]
    weights: Callable[[int], Sequence[float]]

    @classmethod
    def of_kind(cls, kind: str) -> Signals:
        """The task's own verifier alone."""
        return cls([REWARDS[kind]], lambda step: [1.0])

    @classmethod
    def of_terms(
        cls,
        terms: Sequence[RewardTerm],
        kind: str,
        updates: int,
        judge: RewardModel | None = None,
        harm: HarmSpec | None = None,
        root: Path = Path(),
    ) -> Signals:
        """The mixture of the spec over so many updates.

        Raises: `SpecError` for a signal that cannot be had; `ModelError` for a reward model that was refused.
        """
        made, _ = functions(terms, kind, judge, harm, root)
        return cls(made, lambda step: weights_at(terms, step, updates))

    @property
    def names(self) -> list[str]:
        """Of the functions, as they are logged."""
        return [function.__name__ for function in self.functions]

    def score(
        self, prompts: Sequence[str], completions: Sequence[str], step: int, **columns: Any
    ) -> tuple[list[float], dict[str, list[float]]]:
        """Each completion's weighted sum, and each signal's values.

        Raises: `DataError` when a function returns another number of values, or one that is no number.
        """
        found: dict[str, list[float]] = {}
        for function in self.functions:
            values = [float(value) for value in function(prompts, completions, **columns)]
            if len(values) != len(completions) or not all(map(math.isfinite, values)):
                raise DataError(
                    f"reward {function.__name__}: found {len(values)} values for {len(completions)} completions, "
                    f"{sum(map(math.isfinite, values))} of them finite; expected a finite number for each"
                )
            found[function.__name__] = values
        weights = self.weights(step)
        mixed = [
            math.fsum(w * v for w, v in zip(weights, row, strict=True)) for row in zip(*found.values(), strict=True)
        ]
        return mixed, found
