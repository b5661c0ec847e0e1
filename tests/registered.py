"""Versions, verdicts and aliases for tests of the registry: promotion looks at names and verdicts, not at weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from posttrain import tracking
from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.statistics import interval
from posttrain.gates import Check, Verdict

NAME = "voice-assistant"


def empty_store_in(folder: Path) -> bytes:
    """The database of a store with nothing in it, to be copied for each test: MLflow takes seconds to make one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        tracking.connect(folder, "unused")
    return (folder / "mlflow.db").read_bytes()


def verdict(*, passed: bool, reference: str = "", gain: float | None = None, p_value: float = 0.001) -> Verdict:
    """A release verdict with one check on slot F1; the interval of a gain is 0.05 to either side."""
    check = Check(
        metric="slot_f1",
        value=0.5,
        low=0.4,
        high=0.6,
        reference=reference,
        gain=gain,
        gain_low=None if gain is None else gain - 0.05,
        gain_high=None if gain is None else gain + 0.05,
        p_value=None if gain is None else p_value,
        requirement="above champion",
        outcome="passed" if passed else "refused",
        reason=f"slot_f1 0.500 against {reference or 'a threshold'}",
    )
    return Verdict(name="release", checks=(check,), summary=f"the release gate says {passed}")


BETTER = verdict(passed=True, reference="champion", gain=0.1)
WORSE = verdict(passed=False, reference="champion", gain=-0.1)


def make_versions(count: int, run_id: str, name: str = NAME) -> None:
    """Versions 1 to `count` of a name that does not exist yet."""
    client = tracking.client()
    client.create_registered_model(name)
    for _ in range(count):
        client.create_model_version(name, "file:///nowhere", run_id=run_id)


def aliases(name: str = NAME) -> dict[str, str]:
    """Alias → version, as the registry holds them."""
    held = tracking.client().get_registered_model(name).aliases
    return {alias: str(version) for alias, version in held.items()}


def tags(version: str, name: str = NAME) -> dict[str, str]:
    """The version's tags."""
    return dict(tracking.client().get_model_version(name, version).tags)


def scored(folder: Path, name: str, right: list[int], slices: dict[str, Scores] | None = None) -> Scores:
    """Scores of exact match over rows that are right or wrong, with the outputs behind them."""
    path = folder / f"{name}.parquet"
    rows = [{"id": str(place), "exact_match": float(value)} for place, value in enumerate(right)]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    columns = np.array(right, dtype=float)[:, None]
    return Scores(
        model=ModelRef(base="tiny", fingerprint=name),
        split="test",
        prompting="zero-shot",
        rows=len(right),
        metrics={"exact_match": interval(columns, lambda sums, count: sums[..., 0] / count, 200)},
        outputs=DatasetRef(uri=str(path), fingerprint=name, rows=len(right)),
        slices=slices or {},
        seconds=1.0,
    )
