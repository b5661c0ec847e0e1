"""What happens between optimizer steps: progress is told, checkpoints are asked for. Knows no loss and no data."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from posttrain.progress import Progress
from posttrain.training.guards.easing import Ease, pull_at
from posttrain.training.guards.rollouts import WatchRollouts
from posttrain.training.guards.watch import Guards
from posttrain.training.ranks import as_the_first_says

SECONDS_BETWEEN_CHECKPOINTS = 60.0
CHECKPOINTS_IN_A_RUN = 6
# Writing checkpoints may take this share of the time, whatever the rules above say.
LARGEST_SHARE = 0.05


class TellProgress(TrainerCallback):
    """Passes on every step, with the newest loss and what a guard finds at the moment."""

    def __init__(self, progress: Progress, guards: Guards | None = None) -> None:
        self.progress = progress
        self.guards = guards
        self.note = "training"

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Any = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.note = f"loss {logs['loss']:.3f}"

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        note = self.guards.with_note(self.note) if self.guards else self.note
        self.progress(state.global_step, state.max_steps, note)


class AskForCheckpoints(TrainerCallback):
    """Every `save_steps`, or by default every 60 s or sixth of the run; never after the last step.

    When a checkpoint is written has no bearing on the result, so wall time may decide it.
    """

    def __init__(self, save_steps: int | None) -> None:
        self.save_steps = save_steps
        self.last = time.monotonic()
        self.cost = 0.0
        self.after_evaluation = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        unfinished = state.global_step < state.max_steps
        if unfinished and as_the_first_says(self._due(state.global_step, state.max_steps)):
            # At the end of an epoch the evaluation comes first, or a resumed training would never make up for it.
            self.after_evaluation = float(state.epoch or 0).is_integer()
            control.should_save = not self.after_evaluation
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self.after_evaluation:
            control.should_save, self.after_evaluation = True, False
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.last = time.monotonic()

    def _due(self, step: int, steps: int) -> bool:
        if self.save_steps:
            return step % self.save_steps == 0
        passed = time.monotonic() - self.last
        if passed * LARGEST_SHARE < self.cost:
            return False
        return step % between(None, steps) == 0 or passed > SECONDS_BETWEEN_CHECKPOINTS


def between(save_steps: int | None, steps: int) -> int:
    """Steps from one regular checkpoint of a training of `steps` to the next."""
    return save_steps or math.ceil(steps / CHECKPOINTS_IN_A_RUN)


class TellGuards(TrainerCallback):
    """Tells the guards every logged step, and holds the trainer to what they asked for before: `trainer.beta`.

    Where completions are sampled, `watch` sees more than the log, and tells them itself.
    """

    def __init__(
        self,
        guards: Guards,
        trainer: Any,
        save_steps: int | None,
        eased: Sequence[Ease] = (),
        watch: WatchRollouts | None = None,
    ) -> None:
        self.guards = guards
        self.trainer = trainer
        self.save_steps = save_steps
        self.eased = eased
        self.watch = watch
        self.beta = getattr(trainer, "beta", None)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        (self.watch or self.guards).begin(state.global_step, between(self.save_steps, state.max_steps))

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.beta is not None and self.eased:
            self.trainer.beta = self.beta * pull_at(self.eased, state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if self.watch or not logs or "train_runtime" in logs:
            return
        numbers = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
        if self.beta is not None:
            numbers["beta"] = self.trainer.beta
        self.guards.observe(state.global_step, numbers)
