"""What is written into a run that there is: values, curves, data sets, tables, files, decisions and verdicts.

Knows neither when a run begins nor how it ends.
"""

from __future__ import annotations

import itertools
import json
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import DatasetRef, digest
from posttrain.tracking.store import client
from posttrain.tracking.values import flat, masked, param, plain_name, tag_values

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

    from posttrain.gates import Verdict
    from posttrain.strategy import Decision

METRICS_A_CALL = 1000  # the tracking API refuses more in one batch
PARAMS_A_CALL = 100

Curve = Iterable[tuple[int, Mapping[str, float]]]
Rows = Sequence[Mapping[str, Any]]


def log_values(
    run_id: str,
    *,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    datasets: Mapping[str, DatasetRef | None] | None = None,
    curve: Curve = (),
    tables: Mapping[str, Rows] | None = None,
    artifacts: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
    model_id: str | None = None,
) -> None:
    """Log into a run: nested params flattened with dots, metrics, curves with steps, datasets, tables, files.

    Metrics are linked to the logged model `model_id` when one is given.
    """
    from mlflow.entities import Metric, Param, RunTag

    talker, now = client(), round(time.time() * 1000)
    points = itertools.chain(curve, [(0, metrics or {})])
    measured = [
        Metric(plain_name(key), float(value), now, step, model_id=model_id, run_id=run_id)
        for step, point in points
        for key, value in point.items()
        if value is not None
    ]
    settings = [Param(plain_name(key), param(value)) for key, value in flat(params or {})]
    for start in range(0, len(measured), METRICS_A_CALL):
        talker.log_batch(run_id, metrics=measured[start : start + METRICS_A_CALL])
    for start in range(0, len(settings), PARAMS_A_CALL):
        talker.log_batch(run_id, params=settings[start : start + PARAMS_A_CALL])
    if tags:
        talker.log_batch(run_id, tags=[RunTag(key, value) for key, value in tag_values(tags).items()])
    if inputs := [_dataset(use, ref) for use, ref in (datasets or {}).items() if ref is not None]:
        talker.log_inputs(run_id, inputs)
    for name, rows in (tables or {}).items():
        _log_table(talker, run_id, name, rows)
    for path in artifacts:
        talker.log_artifact(run_id, str(path))


def log_data(run_id: str, datasets: Mapping[str, DatasetRef]) -> None:
    """What a whole run works on, as MLflow's data sets; `posttrain.data_digest` is equal when all of it is."""
    of_all = digest({use: ref.fingerprint for use, ref in datasets.items()})
    log_values(run_id, datasets=datasets, tags={"posttrain.data_digest": of_all})


def log_cost(run_id: str, seconds: Mapping[str, float], reused: Iterable[str], price_per_hour: float | None) -> None:
    """What a run took: `cost/seconds` of the stages that ran, `cost/saved_seconds` of those that were found, and
    `cost/price` in the unit of the spec's `resources.price_per_hour`."""
    found = set(reused)
    spent = sum(taken for stage, taken in seconds.items() if stage not in found)
    price = None if price_per_hour is None else spent / 3600 * price_per_hour
    saved = sum(seconds.values()) - spent
    log_values(run_id, metrics={"cost/seconds": spent, "cost/saved_seconds": saved, "cost/price": price})


def log_decision(run_id: str, decision: Decision) -> None:
    """A decision as a tag (`decision.after_sft` = align) and, with reasons and evidence, as an artifact."""
    log_values(run_id, tags={f"decision.{decision.step}": decision.action})
    client().log_dict(run_id, decision.model_dump(mode="json"), f"decisions/{decision.step}.json")


def log_verdict(run_id: str, verdict: Verdict) -> None:
    """A gate's verdict as a tag (`gate.after_sft` = passed, refused or too_few_rows) and as a table of its checks."""
    rows = [{**check.model_dump(mode="json"), "passed": check.passed} for check in verdict.checks]
    log_values(
        run_id,
        tags={
            f"gate.{verdict.name}": verdict.outcome,
            f"gate.{verdict.name}.summary": verdict.summary,
        },
        tables={f"gates/{verdict.name}": rows},
    )


def _dataset(use: str, ref: DatasetRef) -> DatasetInput:
    """A reference as MLflow's dataset: name, digest and source, without reading a row."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(
        name=use,
        digest=ref.fingerprint,
        source_type=ref.uri.split("://")[0] if "://" in ref.uri else "local",
        source=json.dumps({"uri": masked(ref.uri)}),
        profile=json.dumps({"num_rows": ref.rows}),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", use)])


def _log_table(talker: MlflowClient, run_id: str, name: str, rows: Rows) -> None:
    if not rows:
        return
    columns = dict.fromkeys(key for row in rows for key in row)
    table = {column: [row.get(column) for row in rows] for column in columns}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's use of pandas is not the user's business
        talker.log_table(run_id, table, f"{name}.json")
