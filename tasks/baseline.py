"""Is the prompt enough? The base model, asked in the ways that the spec names."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.data.curate import CurateResult
from posttrain.evaluation.rows import read
from posttrain.evaluation.scores import Prompting, Scores
from posttrain.evaluation.slices import check_inhabited, slices_of
from posttrain.strategy import best_baseline
from tasks.evaluate import evaluate
from tasks.run import Run


class Baseline(Frozen):
    """What the base model does before any training; None for a way of asking that the spec leaves out."""

    kind: str
    zero_shot: Scores
    few_shot: Scores | None = None
    step_by_step: Scores | None = None
    self_consistency: Scores | None = None

    @property
    def best(self) -> Scores:
        """The one that a trained model has to beat."""
        return best_baseline(self.zero_shot, self.few_shot, self.kind, self.step_by_step, self.self_consistency)


def measure_baseline(run: Run, rows: CurateResult) -> Baseline:
    """Every way of prompting that the spec names, on the first rows of the validation split: a task run each.

    Raises: `DataError` when a slice that will be measured after training holds no row.
    """
    base, evaluation = run.base, run.spec.evaluate
    if evaluation.slices:
        first = read(rows.validation, evaluation.baseline_rows)
        check_inhabited(slices_of(evaluation), {"first validation": first, "test": read(rows.test)})

    def measured(prompting: Prompting) -> Scores:
        label = f"baseline-{prompting}"
        return evaluate(run, base, rows, "validation", label, prompting, evaluation.baseline_rows)

    zero_shot = measured("zero-shot")
    others = {
        prompting.replace("-", "_"): measured(prompting).with_general_of(zero_shot)
        for prompting in evaluation.ways_of_prompting
        if prompting != "zero-shot"
    }
    return Baseline(kind=run.spec.task.kind, zero_shot=zero_shot, **others)
