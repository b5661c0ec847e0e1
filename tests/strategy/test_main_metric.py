"""Chat is decided by its judge where there is one, by likeness where there is none."""

from __future__ import annotations

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Prompting, Score, Scores
from posttrain.strategy.evidence import best_baseline


def scores(prompting: Prompting, **values: float) -> Scores:
    return Scores(
        model=ModelRef(base="base", fingerprint="base"),
        split="validation",
        prompting=prompting,
        rows=10,
        metrics={name: Score(value=value, low=value, high=value) for name, value in values.items()},
        outputs=DatasetRef(uri="outputs.parquet", fingerprint="outputs", rows=10),
        seconds=0,
    )


def test_the_better_baseline_is_the_one_that_the_judge_prefers() -> None:
    plain = scores("zero-shot", semantic_similarity=0.9, win_rate=0.3)
    shown = scores("few-shot", semantic_similarity=0.8, win_rate=0.4)
    assert best_baseline(plain, shown, "chat") is shown
    likeness = [
        each.model_copy(update={"metrics": {"semantic_similarity": each.metrics["semantic_similarity"]}})
        for each in (plain, shown)
    ]
    assert best_baseline(likeness[0], likeness[1], "chat") is likeness[0]


def test_other_kinds_have_one_main_metric() -> None:
    assert main_metric("text", ["win_rate", "token_f1"]) == "token_f1"
    assert main_metric("code", []) == "pass_rate"
