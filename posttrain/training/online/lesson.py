"""What PPO, GRPO and RLOO begin with alike: the job with its model loaded, its prompts, its rewards, its listeners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from posttrain.progress import Progress, silent
from posttrain.training.online.job import OnlineJob

if TYPE_CHECKING:
    from posttrain.training.ppo.health import Observe
    from posttrain.training.ppo.trainer import Question
    from posttrain.training.signals import Signals


@dataclass(frozen=True)
class Lesson:
    """One training that is about to begin.

    `model` is the policy without an adapter of its own, `base` the folder that a new adapter will name as its base.
    `observers` are called after every update and end the training by raising; `counted` joins the metrics.
    """

    job: OnlineJob
    model: Any
    tokenizer: Any
    base: str
    questions: Sequence[Question]
    signals: Signals
    progress: Progress = silent
    observers: Sequence[Observe] = ()
    counted: Mapping[str, float] = field(default_factory=dict)
