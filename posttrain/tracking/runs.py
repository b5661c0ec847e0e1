"""Runs: the parent of a pipeline run, and those of its stages nested in it; how each begins and ends."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from posttrain.artifacts import DatasetRef, Done, ModelRef, digest
from posttrain.errors import PosttrainError
from posttrain.tracking.log import Curve, Rows, log_values
from posttrain.tracking.store import client
from posttrain.tracking.system import system_metrics
from posttrain.tracking.values import tag_values
from posttrain.tracking.version import code_tags


@contextmanager
def pipeline_run(
    pipeline: str,
    spec_text: str,
    tags: Mapping[str, str] | None = None,
    *,
    flow: str = "",
    params: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """The parent run; yields its id. Ends FINISHED, FAILED on an error, KILLED when interrupted.

    The spec is kept as the artifact `spec.yaml`, its digest and the code's version as tags, and how busy the machine
    was as `system/…`. `flow` stands in the run's name; `params` are what MLflow's compare view sets side by side.
    """
    talker = client()
    experiment = talker.get_experiment_by_name(pipeline)
    if experiment is None:
        raise PosttrainError(f"{pipeline}: no such MLflow experiment; call tracking.connect first")
    given = {"posttrain.spec_digest": digest(spec_text), **code_tags(), **(tags or {})}
    name = " ".join(filter(None, (pipeline, flow, time.strftime("%Y-%m-%d %H:%M:%S"))))
    run = talker.create_run(experiment.experiment_id, tags=tag_values(given), run_name=name)
    run_id: str = run.info.run_id
    talker.log_text(run_id, spec_text, "spec.yaml")
    log_values(run_id, params=params)
    with _ended(run_id), system_metrics(run_id):
        yield run_id


@contextmanager
def stage_run(parent_run_id: str, stage: str, tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """A nested run around work in progress; yields its id, to be filled by `log_values`."""
    run_id = _nested(parent_run_id, stage, dict(tags or {}), started=time.time())
    with _ended(run_id):
        yield run_id


def log_stage(
    parent_run_id: str,
    done: Done[Any],
    *,
    label: str | None = None,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    datasets: Mapping[str, DatasetRef | None] | None = None,
    curve: Curve = (),
    tables: Mapping[str, Rows] | None = None,
    artifacts: Sequence[Path] = (),
    model: ModelRef | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """A nested run for a finished stage; returns its id.

    A stage that was found rather than run is logged too, with the same values and `posttrain.reused` = true, so
    that pipeline runs compare. Metric names become `label/name`; the parent run gets their final values as well.
    `curve` is steps with their metrics; `datasets` maps what the data is for ("train") to its reference; `params`
    may be nested. The run spans the seconds that the stage took, or none when reused.
    """
    name = label or done.name
    course = list(curve)
    on_course = {key for _, point in course for key in point}
    given = {
        "posttrain.stage": done.name,
        "posttrain.fingerprint": done.fingerprint,
        "posttrain.reused": str(done.reused).lower(),
        "posttrain.folder": str(done.folder),
        **(tags or {}),
    }
    ended = time.time()
    run_id = _nested(parent_run_id, name, given, started=ended if done.reused else ended - done.seconds)
    values = {f"{name}/{key}": value for key, value in (metrics or {}).items() if value is not None}
    # A value that the curve ends with would appear in it a second time, at step 0.
    single = {key: value for key, value in values.items() if key.removeprefix(f"{name}/") not in on_course}
    model_id = _model_output(run_id, name, model) if model else None
    log_values(
        run_id,
        params=params,
        metrics={**single, f"{name}/seconds": done.seconds},
        datasets=datasets,
        curve=((step, {f"{name}/{key}": value for key, value in point.items()}) for step, point in course),
        tables=tables,
        artifacts=artifacts,
        model_id=model_id,
    )
    client().set_terminated(run_id, "FINISHED", end_time=round(ended * 1000))
    log_values(parent_run_id, metrics=values)
    return run_id


def _nested(parent_run_id: str, name: str, tags: Mapping[str, str], started: float) -> str:
    talker = client()
    experiment_id = talker.get_run(parent_run_id).info.experiment_id
    given = tag_values({"mlflow.parentRunId": parent_run_id, **code_tags(), **tags})
    run = talker.create_run(experiment_id, start_time=round(started * 1000), tags=given, run_name=name)
    return str(run.info.run_id)


@contextmanager
def _ended(run_id: str) -> Iterator[None]:
    """Terminate the run according to how the block ends; an error's first line becomes a tag."""
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        log_values(run_id, tags={"posttrain.error": text})
        client().set_terminated(run_id, "FAILED")
        raise
    except BaseException:
        client().set_terminated(run_id, "KILLED")
        raise
    client().set_terminated(run_id, "FINISHED")


def _model_output(run_id: str, name: str, model: ModelRef) -> str:
    """A logged model (a reference: the weights stay in the workspace) that the run made; returns its id."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    talker = client()
    tags = {"posttrain.base": model.base, "posttrain.fingerprint": model.fingerprint}
    if model.adapter:
        tags["posttrain.adapter"] = model.adapter
    experiment_id = talker.get_run(run_id).info.experiment_id
    logged = talker.create_logged_model(
        experiment_id, name=re.sub(r"[^\w-]", "-", name), source_run_id=run_id, tags=tag_values(tags)
    )
    talker.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    talker.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    return str(logged.model_id)
