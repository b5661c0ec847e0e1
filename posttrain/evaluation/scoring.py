"""How outputs are scored: the task's metrics, a judge's, the user's own, over many rows at a time.

Knows nothing of the model that wrote them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import Frozen
from posttrain.errors import DataError, SpecError
from posttrain.evaluation.custom_metric import OwnMetric, load_metrics
from posttrain.evaluation.harness import Harness, harness_of
from posttrain.evaluation.judge import Judge, judge_of
from posttrain.evaluation.metrics import METRICS, Answer, confusion, names, row_values
from posttrain.evaluation.metrics.labels import EXPECTED, PREDICTED
from posttrain.evaluation.safety import Suite, probes
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.vote import read_as
from posttrain.progress import Progress, silent

if TYPE_CHECKING:
    from posttrain.spec import PipelineSpec


class Scoring(Frozen):
    """All that decides the scores of given outputs, in plain data: it is part of the measuring stage's fingerprint."""

    kind: str
    json_schema: str = ""
    """The task's JSON Schema as text; empty without one."""
    requested: tuple[str, ...] = ()
    """Costly metrics that targets or gates name."""
    own: tuple[OwnMetric, ...] = ()
    safety: Suite | None = None
    """Probes of safety (`evaluate.safety`)."""
    judge: Judge | None = None
    """Who compares answers (`evaluate.judge`)."""
    harness: Harness | None = None
    """Tasks of general ability (`evaluate.harness`)."""
    tests: str = "tests"
    """Column of the code that tests an answer in code."""

    def metrics(self) -> tuple[str, ...]:
        """The names of what is measured: the kind's metrics, then the user's own."""
        return (*self._built_in, *(metric.known().name for metric in self.own))

    @property
    def _built_in(self) -> tuple[str, ...]:
        return names(self.kind, bool(self.json_schema), self.requested, self.judge.spec.sort if self.judge else "")

    def scored(
        self,
        rows: Sequence[Mapping[str, Any]],
        outputs: Sequence[str],
        cache: Path | None = None,
        progress: Progress = silent,
    ) -> list[dict[str, Any]]:
        """Each row with its output, what was read in it (`parsed`), and what every metric counts in it.

        A judge's verdicts are kept in the folder `cache`. Raises: `DataError` of a user's metric, a judge, or rows of
        code without tests; `ModelError` and `TransientError` of a judge.
        """
        answers = [self._answer(row, output) for row, output in zip(rows, outputs, strict=True)]
        counted = row_values(answers, [METRICS[name] for name in self._built_in])
        if self.judge is not None:
            for values, verdict in zip(counted, self._judged(self.judge, rows, outputs, cache, progress), strict=True):
                values |= verdict
        for metric in self.own:
            for values, value in zip(counted, metric.values(rows, outputs), strict=True):
                values[metric.name] = value
        return [
            {
                "id": row["id"],
                "prompt": row["prompt"],
                "expected": row["completion"],
                "output": output,
                "parsed": read_as(self.kind, output),
                **values,
            }
            for row, output, values in zip(rows, outputs, counted, strict=True)
        ]

    def _answer(self, row: Mapping[str, Any], output: str) -> Answer:
        if self.kind == "code" and not row.get(self.tests):
            raise DataError(
                f"row {row['id']}: has no tests in the column {self.tests!r}, expected Python code; keep the column "
                f"with the rows (data.….keep: [{self.tests}]), or name another in task.tests"
            )
        return Answer(
            self.kind,
            row["completion"],
            output,
            row["prompt"],
            row.get("system") or "",
            self.json_schema,
            row.get(self.tests) or "" if self.kind == "code" else "",
        )

    def _judged(
        self,
        judge: Judge,
        rows: Sequence[Mapping[str, Any]],
        outputs: Sequence[str],
        cache: Path | None,
        progress: Progress,
    ) -> list[dict[str, float]]:
        if cache is not None:
            return judge.judged(rows, outputs, cache, progress)
        with tempfile.TemporaryDirectory(prefix="posttrain-judge-") as folder:
            return judge.judged(rows, outputs, Path(folder), progress)


def scoring_of(spec: PipelineSpec, root: Path) -> Scoring:
    """The scoring that a spec asks for; its files start at `root`. Runs the files of `evaluate.metrics`.

    The user's metrics are known by their names afterwards: see `OwnMetric.known`. Raises: `DataError` for a file that
    is no use, `SpecError` for two metrics of one name.
    """
    from posttrain.data.validate.suites import task_schema

    schema = task_schema(spec.task, root)
    own = [metric for path in spec.evaluate.metrics for metric in load_metrics(path, root)]
    for place, metric in enumerate(own):
        if other := next((each for each in own[:place] if each.name == metric.name), None):
            raise SpecError(
                f"evaluate.metrics: {other.path} and {metric.path} both declare {metric.name}; rename one of them"
            )
        metric.known()
    text = "" if schema is None else json.dumps(schema, sort_keys=True)
    demands = (*spec.gates.after_sft, *spec.gates.after_align, *spec.gates.release)
    named = {*spec.strategy.targets, *(gate.metric for gate in demands)}
    requested = tuple(name for name, metric in METRICS.items() if metric.on_request and name in named)
    return Scoring(
        kind=spec.task.kind,
        json_schema=text,
        requested=requested,
        own=tuple(own),
        safety=_safety(spec, root),
        judge=judge_of(spec.evaluate.judge, root) if spec.evaluate.judge else None,
        harness=harness_of(spec.evaluate.harness, root) if spec.evaluate.harness else None,
        tests=spec.task.tests,
    )


def _safety(spec: PipelineSpec, root: Path) -> Suite | None:
    if spec.evaluate.safety is None:
        return None
    path, instruction = spec.evaluate.safety.prompts, spec.task.instruction
    return Suite(instruction=instruction, probes=tuple(probes(root / path, path, instruction)))


LISTED = 5_000
"""Rows of a table of outputs in MLflow, which reads tables whole; all of them are in `Scores.outputs`."""


def output_tables(scores: Scores) -> dict[str, list[dict[str, Any]]]:
    """Every prompt, output and what was counted in it, as tables for MLflow: `outputs`, and one for each slice."""
    from pyarrow import parquet

    parts = {"outputs": scores, **{f"outputs_{name}": part for name, part in scores.slices.items()}}
    return {name: parquet.read_table(part.outputs.uri).slice(0, LISTED).to_pylist() for name, part in parts.items()}


def confusion_table(scores: Scores) -> dict[str, list[dict[str, Any]]]:
    """Of a classification: `confusion`, which label was taken for which, as a table for MLflow; else nothing."""
    if "macro_f1" not in scores.metrics:
        return {}
    from pyarrow import parquet

    rows = parquet.read_table(scores.outputs.uri, columns=[EXPECTED, PREDICTED]).to_pylist()
    return {"confusion": confusion(rows)}
