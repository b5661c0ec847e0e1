"""Early stopping: when training ends, and which weights it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef
from posttrain.errors import SpecError
from posttrain.evaluation.perplexity import surprise
from posttrain.models.load import load_model, load_tokenizer
from posttrain.spec import SFTSpec
from posttrain.training import sft
from posttrain.training.best import Standing, standing
from posttrain.training.rows import read
from tests.training.test_resume import contrary

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def test_the_best_is_the_first_lowest_and_the_rest_counts_as_patience() -> None:
    def log(*losses: float) -> list[dict[str, float]]:
        return [entry for step, loss in enumerate(losses, 1) for entry in ({"step": step, "loss": 9.0},
                {"step": step, "eval_loss": loss})]  # fmt: skip

    assert standing(log(3.0)) == Standing(1, 3.0, 0)
    assert standing(log(3.0, 2.0)) == Standing(2, 2.0, 0)
    assert standing(log(3.0, 2.0, 2.0, 2.5)) == Standing(2, 2.0, 2)


def test_the_product_is_the_best_and_not_the_last(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    spec = SFTSpec(method="full", early_stopping_patience=2, learning_rate=3e-2, num_train_epochs=20)
    held_out = contrary(tmp_path)
    job = sft.resolve(base, data(20), held_out, spec, recipe)

    result = sft.run(job.model_copy(update={"partial": str(tmp_path), "final": str(tmp_path)}))

    losses = {point.step: point.metrics["eval_loss"] for point in result.curve if "eval_loss" in point.metrics}
    best = min(losses, key=lambda step: losses[step])
    assert result.steps == max(losses) == best + 2 * 3 < 60, "two epochs of three steps after the best"
    assert (result.metrics["best_step"], result.metrics["eval_loss"]) == (best, losses[best])
    asked = surprise(load_model(result.model), load_tokenizer(base), read(held_out))
    total, tokens = (sum(row[name] for row in asked) for name in ("negative_log_likelihood", "tokens"))
    assert total / tokens == pytest.approx(losses[best], rel=1e-4)


def test_without_validation_rows_there_is_nothing_to_stop_by(base: ModelRef, data: Any, recipe: Any) -> None:
    with pytest.raises(SpecError, match=r"sft\.early_stopping_patience: there are no validation rows"):
        sft.resolve(base, data(20), None, SFTSpec(early_stopping_patience=1), recipe)
