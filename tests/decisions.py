"""Evidence in short, and the leaves of the flowchart by what they cost the user, for tests of decisions."""

from __future__ import annotations

from typing import Any

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.evaluation.scores import Score, Scores
from posttrain.gates import Check

BEFORE = {
    "use_prompt": 0,
    "keep_prompt": 1,
    "use_few_shot": 1,
    "align_base": 2,
    "sft": 3,
    "mend_data": 4,
    "collect_data": 4,
}
AFTER = {"release": 0, "measure_more": 1, "align": 2, "keep_sft": 2, "collect_data": 3, "rethink": 4}
HALF_WIDTH = 0.03

NOTHING = Scores(
    model=ModelRef(base="x", fingerprint="x"),
    split="validation",
    prompting="zero-shot",
    rows=200,
    metrics={},
    outputs=DatasetRef(uri="x", fingerprint="x", rows=200),
    seconds=1.0,
)


def scored(values: dict[str, float], prompting: str = "zero-shot", slices: Any = ()) -> Scores:
    metrics = {name: Score(value=v, low=v - HALF_WIDTH, high=v + HALF_WIDTH) for name, v in values.items()}
    return NOTHING.model_copy(update={"prompting": prompting, "metrics": metrics, "slices": dict(slices)})


def check(metric: str, outcome: str) -> Check:
    needed = 900 if outcome == "too_few_rows" else None
    return Check.model_validate(
        {"metric": metric, "value": 1, "low": 1, "high": 1, "requirement": "x", "outcome": outcome, "reason": "y"}
        | {"rows_needed": needed}
    )
