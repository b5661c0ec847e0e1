"""What guards measure beside the reward: held-out prompts answered, and judged by what nothing is rewarded by.

Knows the job and how the policy answers; what follows from the measure is the guards' (`posttrain.training.guards`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import ModelRef
from posttrain.errors import DataError
from posttrain.progress import silent
from posttrain.training.online.job import OnlineJob
from posttrain.training.online.lesson import Lesson
from posttrain.training.online.questions import ask, sampling_of
from posttrain.training.rewards import REWARDS, Reward, RewardTerm

if TYPE_CHECKING:
    from posttrain.training.guards.rollouts import Measure, WatchRollouts
    from posttrain.training.ppo.actor import Actor
    from posttrain.training.ppo.trainer import Question
    from posttrain.training.signals import Signals

PENALTIES = ("kl", "length", "repetition", "safety")
"""Signals that say what an answer must not be, and not whether it is right."""
KNOWN = 200
"""Completions of the data that guards compare the policy's with."""


def watch_of(lesson: Lesson) -> WatchRollouts:
    """What tells the guards of every rollout; without an independent measure as yet."""
    from posttrain.training.guards.rollouts import WatchRollouts
    from posttrain.training.guards.watch import Guards

    known = [str(one.columns["expected"]) for one in lesson.questions[:KNOWN]]
    return WatchRollouts(Guards(lesson.job.guards, Path(lesson.job.partial), known))


def measure_of(lesson: Lesson, actor: Actor) -> Measure | None:
    """Answers to validation prompts, judged by a second reward model or the task's verifier, and by the reward.

    None where that verifier is what rewards (beside penalties), where it judges nothing for sure (text) or no
    validation row, and where nobody asks.
    """
    from posttrain.training.guards.finding import HeldOut
    from posttrain.training.ppo.rollout import draw

    job, tokenizer, signals = lesson.job, lesson.tokenizer, lesson.signals
    judge = judge_of(job, signals)
    if judge is None or job.guards.hacking.action == "ignore":
        return None
    held_out = held_out_questions(job, tokenizer)
    if not held_out:
        return None
    columns = {name: [one.columns[name] for one in held_out] for name in held_out[0].columns}
    prompts, ids = [one.text for one in held_out], [one.ids for one in held_out]

    def measure() -> HeldOut:
        # Always under the same numbers, so that luck is the same each time.
        found = draw(actor, tokenizer, ids, 0, sampling_of(job), 8 * job.micro_batch_size, silent)
        texts = [one.text for one in found]
        # As the reward is when all its signals have joined, and without what the way from the reference costs.
        proxy, _ = signals.score(prompts, texts, job.updates, **columns, kl=[0.0] * len(texts))
        return HeldOut(proxy=tuple(proxy), independent=tuple(judge(prompts, texts, **columns)))

    return measure


def judge_of(job: OnlineJob, signals: Signals) -> Reward | None:
    """What judges answers independently of what they are rewarded for, if there is such a thing."""
    if job.second is not None:
        return by_second(job.second, job.max_length)
    verifier = REWARDS.get(job.kind)
    if verifier is None or job.kind == "text" or set(signals.names) <= {verifier.__name__, "verifier", *PENALTIES}:
        return None
    return verifier


def by_second(model: ModelRef, max_length: int) -> Reward:
    """The scores of another reward model, as they are."""

    def second(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        from posttrain.data.steps.scoring import rewards

        rows = list(zip(columns["system"], prompts, completions, strict=True))
        return [float(score) for score in rewards(Path(model.base), rows, max_length)[:, 0]]

    return second


def held_out_questions(job: OnlineJob, tokenizer: Any) -> list[Question]:
    """Validation prompts that guards measure on: where no second reward model judges, those that the verifier can."""
    if job.validation is None:
        return []
    # Without a mixture, rows must be such as the verifier can judge.
    rewards = (RewardTerm(name="preference", weight=1),) if job.second else ()
    given = {"train": job.validation, "prompts": job.guards.hacking.prompts, "slices": (), "rewards": rewards}
    try:
        return ask(job.model_copy(update=given), tokenizer, None)[0]
    except DataError:
        return []
