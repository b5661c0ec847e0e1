"""Is the prompt enough? The base model, asked plainly and with worked examples."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.data.curate import CurateResult
from posttrain.evaluation.scores import Scores
from posttrain.strategy import best_baseline
from tasks.evaluate import evaluate
from tasks.run import Run


class Baseline(Frozen):
    """What the base model does before any training."""

    kind: str
    zero_shot: Scores
    few_shot: Scores

    @property
    def best(self) -> Scores:
        """The one that a trained model has to beat."""
        return best_baseline(self.zero_shot, self.few_shot, self.kind)


def measure_baseline(run: Run, rows: CurateResult) -> Baseline:
    """Both ways of prompting, on the first rows of the validation split: two task runs."""
    base, limit = run.base, run.spec.evaluate.baseline_rows
    zero_shot = evaluate(run, base, rows, "validation", "baseline-zero-shot", "zero-shot", limit)
    few_shot = evaluate(run, base, rows, "validation", "baseline-few-shot", "few-shot", limit)
    return Baseline(kind=run.spec.task.kind, zero_shot=zero_shot, few_shot=few_shot.with_general_of(zero_shot))
