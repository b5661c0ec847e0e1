"""Reward hacking: the reward climbs while an independent measure falls or stands still; length and words drift.

Pure. Reward and independent measure are of the same answers to the same held-out prompts, now and before the training,
so both are compared prompt by prompt. Without them the reward is that of rollouts, and there are only signs of taste,
which warn.

| the reward climbs, and … | then |
| --- | --- |
| the independent measure falls | acts |
| it stands still, and the reward climbed far, or length or words drift | acts |
| it stands still | warns |
| there is none, or it cannot tell, and length or words drift | warns |

It stands still when it did not climb, had room to, and surely did not do a third of what the reward did, each in its
own standard deviations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from posttrain.training.guards.finding import Finding, History
from posttrain.training.guards.windows import Change, paired_change, series, since_first

if TYPE_CHECKING:
    from posttrain.spec.sections.guards import GuardsSpec

KEEPS_UP = 1 / 3
"""Of what the reward climbed, in standard deviations, an honest measure is expected to show at least this share."""
FAR = 1.0
"""Standard deviations."""


@dataclass(frozen=True)
class Usual:
    """What the data's own completions are like; all empty when there are none."""

    words: float = 0.0
    common: Mapping[str, float] | None = None


def find(history: History, spec: GuardsSpec, usual: Usual) -> Finding | None:
    """Whether the reward is being hacked now, and how that shows."""
    climbed = _climbed(history, spec)
    if climbed is None or climbed.low <= 0:
        return None
    course, measured = _independent(history, spec, climbed)
    drifts = list(_drifts(history, spec, usual))
    if course == "climbs" or (course == "cannot tell" and not drifts):
        return None
    signs = [f"reward climbed from {climbed.before:.3g} to {climbed.after:.3g}"]
    if measured:
        signs.append(
            f"the independent measure {course}: from {measured.before:.3g} to {measured.after:.3g} "
            f"(change between {measured.low:+.2g} and {measured.high:+.2g})"
        )
    far = _in_deviations(history, climbed) >= FAR
    acts = course == "falls" or (course == "stands still" and (far or bool(drifts)))
    return Finding(
        guard="hacking",
        step=history[-1].step,
        since=history[-spec.window :][0].step,
        acts=acts,
        away=True,
        diagnosis="; ".join([*signs, *drifts, "look at what the reward pays for, raise the KL coefficient"]),
        numbers=_numbers(climbed, measured),
    )


def fresh(history: History) -> bool:
    """Whether the last observation has anything new: with an independent measure, only where it was taken."""
    if any(one.independent for one in history):
        return bool(history[-1].independent)
    return "words" in history[-1].metrics


def _climbed(history: History, spec: GuardsSpec) -> Change | None:
    """How the reward moved: of held-out answers where they were judged, else of rollouts."""
    taken = [one.proxy for one in history if one.proxy]
    if len(taken) >= 2:
        return paired_change(taken[0], taken[-1])
    return since_first(series(history, "reward"), spec.window)


Course = Literal["falls", "stands still", "climbs", "cannot tell"]


def _independent(history: History, spec: GuardsSpec, climbed: Change) -> tuple[Course, Change | None]:
    """Where the independent measure went since it was first taken, prompt by prompt."""
    taken = [one.independent for one in history if one.independent]
    if len(taken) < 2:
        return "cannot tell", None
    first, last = np.asarray(taken[0], float), taken[-1]
    deviation = float(first.std(ddof=1))
    small = spec.hacking.small * deviation
    moved = paired_change(first, last)
    if moved.high < 0 and moved.value < -small:
        return "falls", moved
    if moved.low > 0:
        return "climbs", moved
    expected = max(small, KEEPS_UP * _in_deviations(history, climbed) * deviation)
    has_room = float(first.max() - first.mean()) > expected
    return ("stands still" if has_room and moved.high < expected else "cannot tell"), moved


def _in_deviations(history: History, climbed: Change) -> float:
    """How far the reward of held-out answers surely climbed, in its standard deviations; 0 where it was not taken."""
    taken = [one.proxy for one in history if one.proxy]
    if len(taken) < 2:
        return 0.0
    variance = (np.var(taken[0], ddof=1) + np.var(taken[-1], ddof=1)) / 2
    return climbed.low / float(variance) ** 0.5 if variance > 0 else 0.0


def _drifts(history: History, spec: GuardsSpec, usual: Usual) -> Iterator[str]:
    longer = since_first(series(history, "words"), spec.window)
    if longer and longer.low > 0 and longer.after > spec.hacking.length_drift * max(longer.before, usual.words):
        yield f"completions grew from {longer.before:.0f} to {longer.after:.0f} words"
    if drift := _favourite([one.words for one in history if one.words], spec, usual.common or {}):
        yield drift


def _favourite(told: Sequence[Mapping[str, float]], spec: GuardsSpec, usual: Mapping[str, float]) -> str:
    """The word whose share of completions rose most, if that is far above all that is usual."""
    risen: list[tuple[float, str, Change]] = []
    for word in sorted({word for shares in told[-spec.window :] for word in shares}):
        grown = since_first([shares.get(word, 0.0) for shares in told], spec.window)
        if grown and grown.low > 0 and grown.after > spec.hacking.word_drift + max(grown.before, usual.get(word, 0.0)):
            risen.append((grown.value, word, grown))
    if not risen:
        return ""
    _, word, grown = max(risen, key=lambda item: item[:2])
    return f"{word!r} stands in {grown.after:.0%} of the completions, {grown.before:.0%} before"


def _numbers(climbed: Change, measured: Change | None) -> dict[str, float]:
    numbers = {"reward_before": climbed.before, "reward_now": climbed.after}
    if measured:
        numbers |= {"independent_before": measured.before, "independent_now": measured.after}
    return numbers
