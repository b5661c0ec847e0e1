"""Early stopping: the weights of the lowest validation loss are the product, and training ends when it falls no more.

What is best so far follows from the trainer's log alone, which checkpoints carry, so a resumed training decides as an
undisturbed one would. Knows nothing of rows or methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from posttrain.training.adapters import load_trained, save_trained


class Standing(NamedTuple):
    """The step and loss of the best evaluation (the first of equals), and how many evaluations came after it."""

    step: int
    loss: float
    since: int


def standing(history: Sequence[Mapping[str, float]]) -> Standing:
    """How a training stands by its log, which holds at least one evaluation."""
    measured = [(int(entry["step"]), float(entry["eval_loss"])) for entry in history if "eval_loss" in entry]
    best = min(range(len(measured)), key=lambda place: measured[place][1])
    return Standing(*measured[best], len(measured) - 1 - best)


class KeepBest(TrainerCallback):
    """Keeps what training moves in `folder` whenever the validation loss is lower than ever before.

    Stops after `patience` evaluations without such a one. Older weights go when a checkpoint is complete: until then a
    killed training may have to go back to before the newest ones.
    """

    def __init__(self, folder: Path, patience: int) -> None:
        self.folder = folder
        self.patience = patience

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> TrainerControl:
        found = standing(state.log_history)
        if found.since == 0 and state.is_world_process_zero:
            save_trained(model, self._file(found.step))
        if found.since >= self.patience:
            # No checkpoint of a finished training: one resumed from it would go on.
            control.should_training_stop, control.should_save = True, False
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not any("eval_loss" in entry for entry in state.log_history) or not state.is_world_process_zero:
            return
        best = self._file(standing(state.log_history).step)
        for file in self.folder.glob("*.safetensors"):
            if file != best:
                file.unlink()

    def restore(self, model: Any, history: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Put the best weights back into the model; the metrics that are theirs."""
        found = standing(history)
        load_trained(model, self._file(found.step))
        return {"eval_loss": found.loss, "best_step": float(found.step)}

    def _file(self, step: int) -> Path:
        return self.folder / f"{step}.safetensors"
