"""MLflow tracking: one parent run per pipeline run, one nested run per stage. Plain data in, run ids out.

Every value that is logged was handed over by the caller; the environment is never read into a run, and user names
and passwords inside a URI are masked. MLflow's own talk stays off the terminal. MLflow is imported on first use.
Knows nothing of what the stages do, nor of Prefect.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import DatasetRef, Done, ModelRef, digest
from posttrain.errors import PosttrainError, WorkspaceError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

    from posttrain.evaluation.scores import Scores
    from posttrain.gates import Verdict
    from posttrain.strategy import Decision

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # MLflow's own 7 tries wait two minutes for a server that is not there
}
METRICS_A_CALL = 1000  # the tracking API refuses more in one batch
PARAMS_A_CALL = 100
LONGEST_PARAM = 6000

Curve = Iterable[tuple[int, Mapping[str, float]]]
Rows = Sequence[Mapping[str, Any]]


def connect(root: Path, pipeline: str) -> str:
    """Open the tracking store, make the experiment named `pipeline`, and return the store's URI.

    `MLFLOW_TRACKING_URI` wins; otherwise the store is `<root>/mlruns/mlflow.db` and artifacts lie beside it.

    Raises: WorkspaceError when the store cannot be opened.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlruns' / 'mlflow.db'}"
    mlflow = quiet_mlflow()
    try:
        location = _artifact_folder(uri)
        mlflow.set_tracking_uri(uri)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _open_experiment(pipeline, location)
    except (OSError, mlflow.MlflowException) as error:
        reason = str(error).splitlines()[0]
        raise WorkspaceError(
            f"{masked(uri)}: MLflow store cannot be opened ({masked(reason)}); "
            "make its folder writable, start its server, or set MLFLOW_TRACKING_URI to another store"
        ) from error
    return uri


def quiet_mlflow() -> Any:
    """The mlflow module, imported with telemetry off and its talk kept off the terminal."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

    return mlflow


def client() -> MlflowClient:
    """A client of the store that `connect` opened."""
    quiet_mlflow()
    from mlflow import MlflowClient

    return MlflowClient()


@contextmanager
def pipeline_run(pipeline: str, spec_text: str, tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """The parent run; yields its id. Ends FINISHED, FAILED on an error, KILLED when interrupted.

    The spec is kept as the artifact `spec.yaml`, and its digest and the code's version as tags.
    """
    talker = client()
    experiment = talker.get_experiment_by_name(pipeline)
    if experiment is None:
        raise PosttrainError(f"{pipeline}: no such MLflow experiment; call tracking.connect first")
    given = {"posttrain.spec_digest": digest(spec_text), **_code_tags(), **(tags or {})}
    name = f"{pipeline} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    run = talker.create_run(experiment.experiment_id, tags=_tag_values(given), run_name=name)
    run_id: str = run.info.run_id
    talker.log_text(run_id, spec_text, "spec.yaml")
    with _ended(run_id):
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
    flat = [
        Metric(_name(key), float(value), now, step, model_id=model_id, run_id=run_id)
        for step, point in points
        for key, value in point.items()
        if value is not None
    ]
    settings = [Param(_name(key), _param(value)) for key, value in _flat(params or {})]
    for start in range(0, len(flat), METRICS_A_CALL):
        talker.log_batch(run_id, metrics=flat[start : start + METRICS_A_CALL])
    for start in range(0, len(settings), PARAMS_A_CALL):
        talker.log_batch(run_id, params=settings[start : start + PARAMS_A_CALL])
    if tags:
        talker.log_batch(run_id, tags=[RunTag(key, value) for key, value in _tag_values(tags).items()])
    if inputs := [_dataset(use, ref) for use, ref in (datasets or {}).items() if ref is not None]:
        talker.log_inputs(run_id, inputs)
    for name, rows in (tables or {}).items():
        _log_table(talker, run_id, name, rows)
    for path in artifacts:
        talker.log_artifact(run_id, str(path))


def trial_storage(pipeline: str) -> Any:
    """Where a search keeps its trials: runs of the experiment `<pipeline> search`, under a run for each search.

    For the store that `connect` opened. Needs Optuna, which is imported here.
    """
    mlflow = quiet_mlflow()
    name = f"{pipeline} search"
    _open_experiment(name, _artifact_folder(mlflow.get_tracking_uri()))
    from mlflow.optuna.storage import MlflowStorage

    experiment = client().get_experiment_by_name(name)
    assert experiment is not None
    return MlflowStorage(experiment_id=experiment.experiment_id)


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


def score_metrics(scores: Scores) -> dict[str, float]:
    """Scores as MLflow metrics: `slot_f1`, and its 95 % interval as `slot_f1_low` and `slot_f1_high`; those of a slice
    as `slice/typos/slot_f1`."""
    values: dict[str, float] = {}
    for name, score in scores.metrics.items():
        values |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    for part, its in scores.slices.items():
        values |= {f"slice/{part}/{name}": value for name, value in score_metrics(its).items()}
    return values


def masked(text: str) -> str:
    """`text` with the user name and password of any URI in it masked."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)


@cache
def code_version() -> dict[str, str]:
    """The installed version, and the git commit when the package lies in its own checkout."""
    try:
        found = {"posttrain.version": version("posttrain")}
    except PackageNotFoundError:
        found = {}
    checkout = Path(__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return found
    commit = _git(checkout, "rev-parse", "--verify", "HEAD")
    if commit:
        changed = "+changes" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else ""
        found["posttrain.commit"] = commit + changed
    return found


def _code_tags() -> dict[str, str]:
    commit = code_version().get("posttrain.commit", "")
    return {**code_version(), "mlflow.source.name": "posttrain"} | (
        {"mlflow.source.git.commit": commit.removesuffix("+changes")} if commit else {}
    )


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _artifact_folder(uri: str) -> str | None:
    """Beside a SQLite database; any other store knows its own place."""
    if not uri.startswith("sqlite:///"):
        return None
    folder = Path(uri.removeprefix("sqlite:///")).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "artifacts").as_uri()


def _open_experiment(name: str, location: str | None) -> None:
    from mlflow import MlflowException

    experiment = client().get_experiment_by_name(name)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":
            client().restore_experiment(experiment.experiment_id)
        return
    try:
        client().create_experiment(name, artifact_location=location)
    except MlflowException:
        if client().get_experiment_by_name(name) is None:  # else another process was faster
            raise


def _nested(parent_run_id: str, name: str, tags: Mapping[str, str], started: float) -> str:
    talker = client()
    experiment_id = talker.get_run(parent_run_id).info.experiment_id
    given = _tag_values({"mlflow.parentRunId": parent_run_id, **_code_tags(), **tags})
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
        experiment_id, name=re.sub(r"[^\w-]", "-", name), source_run_id=run_id, tags=_tag_values(tags)
    )
    talker.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    talker.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    return str(logged.model_id)


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


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _param(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, tuple, dict)) else str(value)
    return masked(text)[:LONGEST_PARAM]


def _name(key: str) -> str:
    """MLflow's alphabet for names of params and metrics."""
    return re.sub(r"[^\w./ :-]", "_", key)


def _tag_values(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: masked(value)[:LONGEST_PARAM] for key, value in tags.items()}
