"""A search over real trainings: what it finds is what SFT is then found to have trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef, Workspace
from posttrain.evaluation.measure import measure
from posttrain.evaluation.scores import Scores
from posttrain.progress import Progress
from posttrain.spec import PipelineSpec
from posttrain.training import by_spec
from posttrain.training.search_sft import search_sft, with_values

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*(gradient_checkpointing|past_key_values).*:FutureWarning")


def test_the_best_trial_is_found_again_by_sft(base: ModelRef, data: Any, tmp_path: Path) -> None:
    spec = PipelineSpec.model_validate(
        {
            "name": "commands",
            "task": {"kind": "intent_slots"},
            "data": {"train": ["a.jsonl"], "test": ["b.jsonl"]},
            "evaluate": {"max_new_tokens": 8, "resamples": 20},
            "sft": {"method": "full", "learning_rate": 1e-6, "num_train_epochs": 1, "batch_size": 4},
            "search": {
                "trials": 2,
                "values": {"learning_rate": {"low": 1e-6, "high": 1e-2, "log": True}},
                "pruning": False,
            },
            "resources": {"threads": 1},
        }
    )
    workspace, train, validation = Workspace(tmp_path), data(20), data(10)

    def scores(model: ModelRef, tell: Progress) -> Scores:
        return measure(
            model,
            validation,
            split="validation",
            prompting="zero-shot",
            task=spec.task,
            spec=spec.evaluate,
            workspace=workspace,
        ).result

    done = search_sft(spec, base, train, validation, scores, workspace)
    assert [trial.outcome for trial in done.result.trials] == ["complete", "complete"]
    assert done.result.trials[0].values == {"learning_rate": 1e-6}, "the spec's own value first"
    assert search_sft(spec, base, train, validation, scores, workspace).reused

    chosen = with_values(spec, done.result.values)
    assert by_spec.train_sft(chosen, base, train, validation, workspace).reused, "trained in its trial already"
