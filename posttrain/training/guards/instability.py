"""Instability: numbers that are not finite, loss that comes back, gradients that grow, a policy that runs away,
chosen answers that become improbable.

Pure; knows no trainer but by the names of its metrics. A policy's own loss hovers about nought and says nothing of
progress: where there is a reward, the loss is not looked at.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from posttrain.training.guards.finding import Finding, History
from posttrain.training.guards.windows import MEDIAN_OVER_MEAN, ends, lowest, noise, series

if TYPE_CHECKING:
    from posttrain.spec.sections.guards import GuardsSpec

WATCHED = ("loss", "eval_loss", "grad_norm", "kl", "reward", "loss/policy", "loss/value")
CHOSEN = {"logps/chosen", "rewards/chosen", "beta"}
BEFORE = 2
"""Points before the last window that there must be."""
SHORTEST = 3
"""Points whose median may be the best of a training."""
EARLY = 2.5
NATS = 10.0
"""What an answer's log-probability may lose without a word: short answers cost little to begin with."""


def find(history: History, spec: GuardsSpec) -> Finding | None:
    """What is unstable now, the gravest first."""
    for look in (_not_finite, _away, _loss, _chosen, _gradients, _spike):
        if finding := look(history, spec):
            return finding
    return None


def fresh(history: History) -> bool:
    """Whether the last observation has anything to say about this."""
    return any(name in history[-1].metrics for name in WATCHED)


def not_finite(step: int, name: str, value: float, cure: str = "lower learning_rate") -> Finding:
    """The finding for a number that is NaN or infinite; nothing is to be waited for."""
    return Finding(
        guard="instability", step=step, since=step, at_once=True, diagnosis=f"{name} is {value} at step {step}; {cure}"
    )


def _not_finite(history: History, spec: GuardsSpec) -> Finding | None:
    last = history[-1]
    bad = [name for name in WATCHED if not math.isfinite(last.metrics.get(name, 0.0))]
    return not_finite(last.step, bad[0], last.metrics[bad[0]]) if bad else None


def _away(history: History, spec: GuardsSpec) -> Finding | None:
    found = series(history, "kl")[-spec.window :]
    limit = spec.instability.max_kl
    if len(found) < spec.window or (now := median(found)) <= limit:
        return None
    return Finding(
        guard="instability",
        step=history[-1].step,
        since=_since(history, spec.window),
        away=True,
        diagnosis=f"the policy runs from its reference: KL {now:.3g} nats a token, at most {limit:g} is sound; "
        "raise the KL coefficient or lower learning_rate",
        numbers={"kl": now, "limit": limit},
    )


def _loss(history: History, spec: GuardsSpec) -> Finding | None:
    """Whether loss came back: the last window against the best that was before it.

    A rate that is far too high spoils the first steps already, so two points before the window are enough to compare
    with. As long as they are fewer than a window nothing is known of the noise, and more of a rise is asked for.
    """
    window, limits = spec.window, spec.instability
    losses = series(history, "loss")
    past, last = losses[:-window], losses[-window:]
    if len(past) < BEFORE or "reward" in history[-1].metrics:
        return None
    start, now = median(past[:window]), median(last)
    shortest = min(SHORTEST, len(past))
    best = lowest(past, shortest)
    early = len(past) < window
    error = 0.0 if early else MEDIAN_OVER_MEAN * noise(past) * math.sqrt(1 / window + 1 / shortest)
    rise = limits.loss_rise * (EARLY if early else 1)
    needed = max(limits.lost_share * (start - best), rise * abs(best), limits.noise * error)
    if now - best <= needed:
        return None
    return Finding(
        guard="instability",
        step=history[-1].step,
        since=_since(history, window),
        diagnosis=f"loss rose from {best:.3g} to {now:.3g}, by more than {needed:.2g}; lower learning_rate",
        numbers={"start": start, "best": best, "now": now, "borne": needed},
    )


def _spike(history: History, spec: GuardsSpec) -> Finding | None:
    """Whether the last loss is far above all before it. One such point warns: it is the next ones that decide."""
    losses = series(history, "loss")
    past = losses[:-1]
    if len(past) < BEFORE or "reward" in history[-1].metrics or not losses[-1] > spec.instability.spike * max(past) > 0:
        return None
    return Finding(
        guard="instability",
        step=history[-1].step,
        since=history[-1].step,
        acts=False,
        diagnosis=f"loss leapt to {losses[-1]:.3g}, more than {spec.instability.spike:g} times all before it",
        numbers={"highest": max(past), "now": losses[-1]},
    )


def _chosen(history: History, spec: GuardsSpec) -> Finding | None:
    """Whether preference optimisation pushes down what it should prefer; its loss looks perfect then.

    `rewards/chosen` over beta is what an answer's log-probability has gained on the reference, batch by batch. Where it
    does not begin at nought there is no reference (ORPO), and nothing is said.
    """
    window, limits = spec.window, spec.instability
    seen = [one.metrics for one in history if one.metrics.keys() >= CHOSEN and one.metrics["beta"] > 0]
    lost = [-one["rewards/chosen"] / one["beta"] for one in seen]
    if len(seen) <= window or abs(lost[0]) > 1:
        return None
    now, gone = median(-one["logps/chosen"] for one in seen[-window:]), median(lost[-window:])
    before = now - gone
    if gone <= NATS or now <= limits.chosen_growth * before:
        return None
    return Finding(
        guard="instability",
        step=history[-1].step,
        since=_since(history, window),
        away=True,
        diagnosis=f"the chosen answers themselves become improbable: {-now:.3g} nats an answer, {-before:.3g} by the "
        f"reference, more than {limits.chosen_growth:g} times; lower learning_rate, raise beta or sft_weight",
        numbers={"reference": -before, "now": -now},
    )


def _gradients(history: History, spec: GuardsSpec) -> Finding | None:
    both = ends(series(history, "grad_norm"), spec.window)
    if both is None:
        return None
    start, now = median(both[0]), median(both[1])
    limit = spec.instability.gradient_growth
    if now <= limit * start or start <= 0:
        return None
    return Finding(
        guard="instability",
        step=history[-1].step,
        since=_since(history, spec.window),
        diagnosis=f"gradients grew from norm {start:.3g} to {now:.3g}, more than {limit:g} times; "
        "lower learning_rate or max_grad_norm",
        numbers={"start": start, "now": now, "limit": limit},
    )


def _since(history: History, window: int) -> int:
    return history[-min(window, len(history))].step
