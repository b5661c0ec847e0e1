"""What guards are told of online training: every rollout, and every few rollouts an independent measure.

Knows the names under which rollouts are logged, and no model: how the measure is taken is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from posttrain.training.guards.finding import HeldOut
from posttrain.training.guards.watch import Guards

Measure = Callable[[], HeldOut]
"""Has the policy answer held-out prompts, and judges the answers."""


class WatchRollouts:
    """An observer of online training. The measure is taken before the first rollout too, to compare with."""

    def __init__(self, guards: Guards, measure: Measure | None = None) -> None:
        self.guards = guards
        self.measure = measure

    def begin(self, step: int, every: int) -> None:
        """The training starts, or resumes after `step` updates; roll-backs go to multiples of `every`."""
        self.guards.begin(step, every)
        if self.measure and not self.guards.history:
            self.guards.observe(0, {}, held_out=self.measure())

    def __call__(
        self, step: int, metrics: Mapping[str, float], prompts: Sequence[str], completions: Sequence[str]
    ) -> None:
        """Raises: `GuardTripped`."""
        due = step % self.guards.spec.hacking.every == 0
        held_out = self.measure() if self.measure and due else None
        self.guards.observe(step, named(metrics), prompts, completions, held_out)


def named(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics with KL and entropy a token under the names that guards know."""
    found = dict(metrics)
    if "objective/entropy" in found:
        found["entropy"] = found["objective/entropy"]
    if "objective/kl_token" in found:
        found["kl"] = found["objective/kl_token"]
    elif "objective/kl" in found and found.get("completions/mean_length"):
        found["kl"] = found["objective/kl"] / found["completions/mean_length"]
    return found
