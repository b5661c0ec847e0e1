"""The mixed reward: which signals, with which weights, from which update on (S3: 60/20/5/5/10).

The reward of a completion is the sum of weight × signal over the signals that are active. Every signal lies between -1
and 1, so that the weights are comparable. Pure; knows no trainer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from posttrain.errors import SpecError
from posttrain.spec.sections.harm import HarmSpec
from posttrain.spec.sections.rewards import RewardsSpec, RewardTerm
from posttrain.training.rewards.penalties import (
    FREE_CHARACTERS,
    KL_COEFFICIENT,
    Reward,
    kl_of,
    length_of,
    repetition_of,
)
from posttrain.training.rewards.preference import CLIP, RewardModel, preference_of
from posttrain.training.rewards.safety import BONUS, PENALTY, safety_of
from posttrain.training.rewards.verifier import REWARDS

FIVE = (
    RewardTerm(name="preference", weight=0.6),
    RewardTerm(name="kl", weight=0.2),
    RewardTerm(name="length", weight=0.05),
    RewardTerm(name="repetition", weight=0.05),
    RewardTerm(name="safety", weight=0.1),
)
"""S3's five signals and their shares."""


def terms_of(spec: RewardsSpec, kind: str, reward_model: bool) -> tuple[RewardTerm, ...]:
    """The signals of a spec with what it leaves open settled, in the order in which they join.

    Left out altogether, they are S3's five; without a reward model the task's verifier takes preference's share.
    Raises: `SpecError` when neither can say which answer is better.
    """
    terms = tuple(spec.signals) or FIVE
    if not spec.signals and not reward_model:
        _must_verify(kind)
        terms = tuple(
            term.model_copy(update={"name": "verifier"}) if term.name == "preference" else term for term in FIVE
        )
    return one_by_one(terms) if spec.curriculum == "one_by_one" else terms


def functions(
    terms: Sequence[RewardTerm],
    kind: str,
    judge: RewardModel | None = None,
    harm: HarmSpec | None = None,
    root: Path = Path(),
) -> tuple[list[Reward], list[float]]:
    """A function for each term, named like its signal, and the weights that all of them have in the end.

    TRL takes them as `reward_funcs` and `reward_weights`; before the last term has joined, the weights are
    `weights_at`. `kl` needs the column `kl`, which TRL's trainers do not give: there, leave that term out. `harm` and
    `root` are the spec's word lists and the project's folder.
    Raises: `SpecError` for a signal that cannot be had here; `ModelError` for a reward model that was refused.
    """
    made = [_named(_function(term, kind, judge, harm, root), term.name) for term in terms]
    return made, [term.weight for term in terms]


def weights_at(terms: Sequence[RewardTerm], step: int, steps: int) -> list[float]:
    """The weights at update `step` (from 0) of `steps`: 0 for a term that has not joined yet.

    >>> weights_at(one_by_one(FIVE), 39, 100)
    [0.6, 0.2, 0.0, 0.0, 0.0]
    """
    return [term.weight if step >= start(term, steps) else 0.0 for term in terms]


def start(term: RewardTerm, steps: int) -> int:
    """The first of `steps` updates at which a term counts."""
    # 0.28 × 25 is 7.000000000000001: a share that means a whole step must not begin one later.
    return term.from_step or math.ceil(round(term.from_share * steps, 9))


def mixed(weights: Sequence[float], signals: Sequence[Sequence[float]]) -> list[float]:
    """The reward of each completion; `signals` has a list for each term, one value a completion.

    >>> mixed([0.5, 0.25], [[1.0, 0.0], [-1.0, -0.5]])
    [0.25, -0.125]
    """
    return [math.fsum(w * s for w, s in zip(weights, values, strict=True)) for values in zip(*signals, strict=True)]


def one_by_one(terms: Sequence[RewardTerm]) -> tuple[RewardTerm, ...]:
    """The terms, joining one at a time in equal parts of the training, the first at once (S3)."""
    shares = [place / len(terms) for place in range(len(terms))]
    return tuple(
        term.model_copy(update={"from_step": 0, "from_share": share}) for term, share in zip(terms, shares, strict=True)
    )


def _function(term: RewardTerm, kind: str, judge: RewardModel | None, harm: HarmSpec | None, root: Path) -> Reward:
    match term.name:
        case "kl":
            return kl_of(KL_COEFFICIENT if term.coefficient is None else term.coefficient)
        case "length":
            return length_of(term.characters or FREE_CHARACTERS)
        case "repetition":
            return repetition_of(spare_code=kind == "code")
        case "safety":
            bonus = BONUS if term.bonus is None else term.bonus
            return safety_of(bonus, PENALTY if term.penalty is None else term.penalty, harm, root)
        case "verifier":
            _must_verify(kind)
            return REWARDS[kind]
        case "preference":
            if judge is None:
                raise SpecError(
                    "rewards.signals: preference needs a reward model and there is none; give data.preference, or take "
                    "verifier"
                )
            return preference_of(judge, term.clip or CLIP)


def _must_verify(kind: str) -> None:
    if kind not in REWARDS:
        raise SpecError(
            f"rewards.signals: found task.kind {kind}, which has no verifier, expected one of {', '.join(REWARDS)}; "
            "give data.preference for a reward model"
        )


def _named(function: Callable[..., list[float]], name: str) -> Reward:
    """The function under its signal's name, by which trainers log it; the verifier's own stays as it was."""

    def signal(*args: object, **columns: object) -> list[float]:
        return function(*args, **columns)

    signal.__name__ = signal.__qualname__ = name
    signal.__doc__ = function.__doc__
    return signal
