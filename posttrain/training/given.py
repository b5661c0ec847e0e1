"""What people prefer (`data.preference`) as pairs, sifted and told as the policy's own pairs are.

| rows | become |
| --- | --- |
| chosen, rejected | pairs as they are: comparisons, rankings and corrected bad cases have been read as such rows |
| ratings | pairs of answers to one prompt whose mean ratings are far enough apart; for KTO good and bad answers |
| label | pairs of a good and a bad answer to one prompt; for KTO the answers as they are |

Knows nothing of sampling or training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import DatasetRef, Done, Stage, Workspace, run_stage
from posttrain.errors import DataError
from posttrain.progress import Progress, silent
from posttrain.training.pairing import Pair, best_against_worst, mean, publish, sift, told, written
from posttrain.training.result import PairsResult
from posttrain.training.rows import read

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec

CODE = ("posttrain.training.given", "posttrain.training.pairing", "posttrain.data.text.preference_rules")
SINGLE = ("id", "system", "prompt", "completion", "label")
"""Columns of answers that KTO learns from one at a time."""
READ = ("chosen", "ratings", "label")
"""Columns by which rows of preferences are told apart."""

Row = Mapping[str, Any]


def readable(columns: Sequence[str]) -> bool:
    """Whether preferences can be made of rows with these columns."""
    return any(name in columns for name in READ)


def given_pairs(
    preference: DatasetRef, spec: AlignSpec, kind: str, workspace: Workspace, progress: Progress = silent
) -> Done[PairsResult]:
    """The pairs, or for KTO the single answers, that `preference` gives; found again when they were made before.

    `kind` is the task's. Raises: `DataError` when the rows are no preferences, or cannot be read.
    """
    asked = spec.model_dump(include={"length_bias", "pairs_per_prompt", "min_rating_margin", "desirable_rating"})
    inputs = {"preference": preference.fingerprint, "kind": kind, "kto": spec.method == "kto", **asked}

    def work(partial: Path, final: Path) -> PairsResult:
        began = time.monotonic()
        progress(0, 1, "pairing")
        rows = read(preference)
        if rows and not readable(list(rows[0])):
            raise DataError(
                f"{preference.uri}: found columns {', '.join(rows[0])}, expected chosen and rejected, ratings, or "
                "label; correct data.preference"
            )
        if rows and spec.method == "kto" and "chosen" not in rows[0]:
            return _single(rows, spec, partial, final, began)
        return _paired(rows, spec, kind, partial, final, began)

    return run_stage(workspace, Stage("given-pairs", inputs, PairsResult, CODE, ("pyarrow",)), work)


def _paired(rows: Sequence[Row], spec: AlignSpec, kind: str, partial: Path, final: Path, began: float) -> PairsResult:
    made, near = paired(rows, spec)
    pairs, aside = sift(made, spec.length_bias, kind)
    return PairsResult(
        **publish(pairs, near + aside, partial, final),
        **told(pairs, near + aside),
        ranked_by=_by(rows),
        prompts=len({(row["system"], row["prompt"]) for row in rows}),
        samples=0,
        no_margin=sum(pair["rule"] == "min_margin" for pair in near),
        seconds=round(time.monotonic() - began, 3),
    )


def paired(rows: Sequence[Row], spec: AlignSpec) -> tuple[list[Pair], list[Pair]]:
    """Pairs of rows of one kind, and those that cannot be: answers that stand alone or are too near each other.

    A pair that people gave has margin 1, for they said which is better and not by how much.
    """
    if rows and "chosen" in rows[0]:
        names = ("id", "system", "prompt", "chosen", "rejected")
        return [{**{name: row[name] for name in names}, "margin": 1.0} for row in rows], []
    made: list[Pair] = []
    near: list[Pair] = []
    for answers in _by_prompt(rows):
        scores = [_mean_rating(row) if "ratings" in row else float(_is_good(row)) for row in answers]
        least = spec.min_rating_margin if "ratings" in answers[0] else 0.0
        said = [row["completion"] for row in answers]
        found, too_near = best_against_worst(answers[0], said, scores, least, spec.pairs_per_prompt)
        made += found
        near += too_near
    return made, near


def _single(rows: Sequence[Row], spec: AlignSpec, partial: Path, final: Path, began: float) -> PairsResult:
    answers = single(rows, spec)
    good, bad = ([len(row["completion"]) for row in answers if row["label"] == side] for side in ("true", "false"))
    return PairsResult(
        pairs=written(answers, SINGLE, partial / "pairs.parquet", final),
        set_aside=written([], (*SINGLE, "rule", "value"), partial / "set_aside.parquet", final),
        ranked_by=_by(rows),
        prompts=len({(row["system"], row["prompt"]) for row in rows}),
        samples=0,
        single=True,
        kept=len(answers),
        mean_margin=0.0,
        chosen_characters=mean(good),
        rejected_characters=mean(bad),
        seconds=round(time.monotonic() - began, 3),
    )


def single(rows: Sequence[Row], spec: AlignSpec) -> list[dict[str, str]]:
    """One answer a row with `label` "true" or "false"; a rated one is good from `spec.desirable_rating` on."""
    found = []
    for row in rows:
        good = _mean_rating(row) >= spec.desirable_rating if "ratings" in row else _is_good(row)
        found.append({**{name: row[name] for name in SINGLE[:-1]}, "label": "true" if good else "false"})
    return found


def _by_prompt(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one system message and prompt together, in the order of their first row."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["system"], row["prompt"]), []).append(row)
    return list(groups.values())


def _by(rows: Sequence[Row]) -> str:
    return "people" if not rows or "chosen" in rows[0] else "ratings" if "ratings" in rows[0] else "labels"


def _mean_rating(row: Row) -> float:
    return fmean(float(one["rating"]) for one in json.loads(row["ratings"]))


def _is_good(row: Row) -> bool:
    return str(row["label"]).lower() == "true"
