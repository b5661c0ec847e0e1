"""What happens between optimizer steps: progress is told, checkpoints are asked for. Knows no loss and no data."""

from __future__ import annotations

import math
import time
from typing import Any

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from posttrain.progress import Progress
from posttrain.training.ranks import as_the_first_says

SECONDS_BETWEEN_CHECKPOINTS = 60.0
CHECKPOINTS_IN_A_RUN = 6
# Writing checkpoints may take this share of the time, whatever the rules above say.
LARGEST_SHARE = 0.05


class TellProgress(TrainerCallback):
    """Passes on every step, with the newest loss."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
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
        self.progress(state.global_step, state.max_steps, self.note)


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
        return step % math.ceil(steps / CHECKPOINTS_IN_A_RUN) == 0 or passed > SECONDS_BETWEEN_CHECKPOINTS
