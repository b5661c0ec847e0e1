"""The bad cases that no model is trained on, as rows to measure on, and how many of them a model has fixed.

*Fixed* is a case to which the output is right in full. Which cases these are, `held_back` says. Knows nothing of models
or of where answers are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.artifacts import DatasetRef, Frozen, Stage, Workspace, run_stage
from posttrain.evaluation.scores import Scores
from posttrain.feedback.answers import Answer
from posttrain.feedback.held_back import case_digest, split
from posttrain.feedback.items import Item
from posttrain.feedback.rows import rows_of
from posttrain.spec.metrics import BAD_CASES

RIGHT = ("exact_match", "accuracy", "final_answer", "pass_rate")
"""Columns of outputs that say whether a row is right in full, of the kinds that have one."""


def corrected(items: Iterable[Item], answers: Iterable[Answer], share: float) -> list[dict[str, str]]:
    """The held-back bad cases that people corrected, settled as those to train on are: prompt, system, completion."""
    return list(rows_of(split(items, share)[1], answers).completions)


class Suite(Frozen):
    """The corrected cases that models are tested on: rows as evaluation reads them."""

    rows: DatasetRef


def suite(cases: Sequence[Mapping[str, str]], instruction: str, workspace: Workspace) -> Suite | None:
    """Corrected cases (prompt, completion, system) as rows to measure on; None when there are none.

    Of cases in the same words the first counts. The task's instruction stands where a case has none.
    Raises: WorkspaceError when the rows cannot be written.
    """
    rows: dict[str, dict[str, Any]] = {}
    for case in cases:
        texts = {"prompt": case["prompt"], "completion": case["completion"]}
        row = {"id": case_digest("", case["prompt"]), "source": "feedback", **texts}
        rows.setdefault(row["id"], {**row, "system": case.get("system") or instruction})
    if not rows:
        return None
    ordered = [rows[name] for name in sorted(rows)]
    stage = Stage(
        BAD_CASES.replace("_", "-"), {"rows": ordered}, Suite, ("posttrain.feedback.regression",), ("pyarrow",)
    )

    def work(partial: Path, final: Path) -> Suite:
        from posttrain.evaluation.rows import write

        return Suite(rows=write(ordered, partial / "rows.parquet", final / "rows.parquet"))

    return run_stage(workspace, stage, work).result


@dataclass(frozen=True)
class Fixed:
    """How many cases of the suite a model answers right, and how many the champion does; None without a champion."""

    cases: int
    fixed: int
    champion: int | None = None
    both: int = 0

    @property
    def failing(self) -> int:
        """Those that the model still answers wrongly."""
        return self.cases - self.fixed

    @property
    def broken(self) -> int:
        """Those that the champion has right and this model has not."""
        return 0 if self.champion is None else self.champion - self.both

    @property
    def in_words(self) -> str:
        """fixed 12 of 20, still failing 8; the champion has 3 of them right, and 1 of those is lost."""
        told = f"fixed {self.fixed:,} of {self.cases:,}, still failing {self.failing:,}"
        if self.champion is None:
            return told
        lost = f", and {self.broken:,} of those {'is' if self.broken == 1 else 'are'} lost" if self.broken else ""
        return f"{told}; the champion has {self.champion:,} of them right{lost}"


def fixed(scores: Scores, champion: Scores | None = None) -> Fixed | None:
    """Count what a model and the champion have right of the suite that both were measured on.

    None where the task's kind has no answer that is right in full (chat). Raises: OSError when outputs are gone.
    """
    ours, theirs = _right(scores), _right(champion) if champion else None
    if ours is None:
        return None
    own = sum(ours.values())
    if theirs is None:
        return Fixed(len(ours), own)
    return Fixed(
        len(ours), own, sum(theirs.values()), sum(right and theirs.get(row, False) for row, right in ours.items())
    )


def _right(scores: Scores) -> dict[str, bool] | None:
    """Row → whether the output is right in full."""
    from pyarrow import parquet

    known = parquet.read_schema(scores.outputs.uri).names
    column = next((name for name in RIGHT if name in known), None)
    if column is None:
        return None
    table = parquet.read_table(scores.outputs.uri, columns=["id", column]).to_pydict()
    return {row: value == 1 for row, value in zip(table["id"], table[column], strict=True)}
