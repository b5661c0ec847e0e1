"""The registered model as MLflow runs it: prompts in, greedy completions out, asked just as evaluation asked.

MLflow keeps a copy of this file with the weights and executes it on loading (models from code: no pickle). It
knows nothing of registration; instruction, worked examples and limits come with the model's configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel

from posttrain.evaluation.generate import answer
from posttrain.models.load import load_model, load_tokenizer, saved_in
from posttrain.prompts import few_shot


class Completions(PythonModel):
    """`predict(["play some jazz"])` gives one completion a prompt, in order."""

    def load_context(self, context: Any) -> None:
        """Load the merged weights and the tokenizer that lie beside this file."""
        ref = saved_in(Path(context.artifacts["model"]), context.model_config["fingerprint"])
        self.settings = dict(context.model_config)
        self.model, self.tokenizer = load_model(ref, merge=True), load_tokenizer(ref)

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:
        """The greedy completion of each prompt."""
        settings = self.settings
        conversations = [few_shot(settings["examples"], settings["system"], prompt) for prompt in model_input]
        outputs, _ = answer(
            self.model,
            self.tokenizer,
            conversations,
            max_new_tokens=settings["max_new_tokens"],
            batch_size=settings["batch_size"],
            end_at_blank_line=settings["end_at_blank_line"],
        )
        return outputs


mlflow.models.set_model(Completions())
