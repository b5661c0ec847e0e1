"""What changed between two models: wins, losses and ties over the rows that both answered, and rows to look at.

Reads the outputs that measuring left behind; knows nothing of models or HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posttrain.artifacts import DatasetRef
from posttrain.evaluation.metrics import JUDGED, MAIN, METRICS
from posttrain.evaluation.scores import Scores
from posttrain.report.content import Changes, SideBySide
from posttrain.report.outputs import RIGHT, by_id, spread

ROWS = 20

Row = Mapping[str, Any]
Pair = tuple[Row, Row]


def compare_outputs(before: str, first: Scores, after: str, second: Scores, rows: int = ROWS) -> Changes | None:
    """Compare two measurements, each under its label; up to `rows` rows are shown, losses first.

    At least half of them are losses where there are so many; the same scores give the same rows. None when the two
    have no row in common or their outputs are gone.
    """
    try:
        ours, theirs = by_id(first), by_id(second)
    except OSError:  # the workspace was cleaned
        return None
    shared = [(ours[name], row) for name, row in theirs.items() if name in ours and _same(ours[name], row)]
    if not shared:
        return None
    metric = _counted_by(shared)
    wins = [pair for pair in shared if _value(pair[1], metric) > _value(pair[0], metric)]
    losses = [pair for pair in shared if _value(pair[1], metric) < _value(pair[0], metric)]
    alike = [pair for pair in shared if _value(pair[1], metric) == _value(pair[0], metric)]
    both_right = sum(_value(row, metric) == 1.0 for row, _ in alike) if _is_binary(metric) else 0
    shown_losses = spread(losses, max(rows // 2, rows - len(wins)))
    shown = [(pair, "loss") for pair in shown_losses]
    shown += [(pair, "win") for pair in spread(wins, rows - len(shown))]
    return Changes(
        before=before,
        after=after,
        split=second.split,
        metric=metric,
        wins=len(wins),
        losses=len(losses),
        both_right=both_right,
        both_wrong=len(alike) - both_right,
        differing=sum(ours["output"] != theirs["output"] for ours, theirs in shared),
        p_value=_p_value(len(wins), len(losses)) if _is_binary(metric) else None,
        only_before=len(ours) - len(shared),
        only_after=len(theirs) - len(shared),
        rows=tuple(_side(pair, change, before, after, metric) for pair, change in shown),
    )


def on_common_rows(first: Scores, second: Scores, folder: Path) -> tuple[Scores, Scores]:
    """Both, with outputs (and those of slices) of the rows that both were asked in the same words, under `folder`.

    Values and intervals stay those of all rows. What is alike already, or gone, stays as it is.
    """
    try:
        ours, theirs = by_id(first), by_id(second)
    except OSError:
        return first, second
    slices = {name: (first.slices[name], part) for name, part in second.slices.items() if name in first.slices}
    parts = {name: on_common_rows(*pair, folder) for name, pair in slices.items()}
    left: dict[str, Any] = {"slices": {**first.slices, **{name: pair[0] for name, pair in parts.items()}}}
    right: dict[str, Any] = {"slices": {**second.slices, **{name: pair[1] for name, pair in parts.items()}}}
    names = [name for name, row in theirs.items() if name in ours]
    same = [name for name in names if _same(ours[name], theirs[name])]
    if len(same) < len(names):
        left["outputs"] = _kept_under(folder, [ours[name] for name in same])
        right["outputs"] = _kept_under(folder, [theirs[name] for name in same])
    return first.model_copy(update=left), second.model_copy(update=right)


def _kept_under(folder: Path, rows: list[dict[str, Any]]) -> DatasetRef:
    import pyarrow as arrow
    from pyarrow import parquet

    path = folder / f"{len(list(folder.iterdir()))}.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows or [{"id": ""}]), path)
    return DatasetRef(uri=str(path), fingerprint="", rows=len(rows))


def _same(first: Row, second: Row) -> bool:
    """Whether the two were asked the same; an id alone may name another row in another run."""
    return bool(first["prompt"] == second["prompt"] and first["expected"] == second["expected"])


def _counted_by(shared: Sequence[Pair]) -> str:
    """The metric that says of a row whether it is right; where no row is, or none says so, a graded one."""
    has = [name for name in (*RIGHT, JUDGED, *MAIN.values()) if all(_has(pair, name) for pair in shared)]
    right = [name for name in has if name in RIGHT and any(row[name] == 1.0 for pair in shared for row in pair)]
    graded = [name for name in has if name not in RIGHT]
    return next(iter([*right, *graded, *has]), EQUAL)


EQUAL = "equal to the expected text"


def _has(pair: Pair, name: str) -> bool:
    return all(row.get(name) is not None for row in pair)


def _is_binary(metric: str) -> bool:
    return metric in RIGHT or metric == EQUAL


def _value(row: Row, metric: str) -> float:
    """The row's value, more is better."""
    if metric == EQUAL:
        return float(row["output"].strip() == row["expected"].strip())
    known = METRICS.get(metric)
    return float(row[metric]) if known is None or known.higher_is_better else -float(row[metric])


def _p_value(wins: int, losses: int) -> float:
    import numpy as np

    from posttrain.evaluation.statistics import mcnemar

    second = np.array([1.0] * wins + [0.0] * losses)
    return mcnemar(second, 1.0 - second)


def _side(pair: Pair, change: str, before: str, after: str, metric: str) -> SideBySide:
    values = {label: _value(row, metric) for label, row in zip((before, after), pair, strict=True)}
    return SideBySide.model_validate(
        {
            "prompt": pair[1]["prompt"],
            "expected": pair[1]["expected"],
            "outputs": {label: row["output"] for label, row in zip((before, after), pair, strict=True)},
            "right": {label: value == 1.0 for label, value in values.items()},
            "change": change,
            "values": {} if _is_binary(metric) else values,
        }
    )
