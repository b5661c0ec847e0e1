"""Model versions: register one with its lineage, find one again, and the champion among them.

A version holds merged safetensors weights, tokenizer, the task's instruction and the code that asks, so that

    mlflow.pyfunc.load_model("models:/voice-assistant@champion").predict(["play some jazz"])

gives what evaluation saw. Knows nothing of how a model was trained or judged. MLflow is imported on first use.
"""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from posttrain import tracking
from posttrain.artifacts import DatasetRef, Frozen, ModelRef, digest
from posttrain.evaluation.scores import Scores

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
REQUIREMENTS = ("posttrain", "mlflow", "torch", "transformers", "tokenizers", "safetensors", "pydantic")
WEIGHTS = "model"  # folder of a version's artifacts
KEPT = "registered"  # folder of a run's artifacts that holds what a later paired test needs


class Asking(Frozen):
    """How the model is asked: part of what makes a version, since another instruction gives other outputs."""

    system: str = Field("", description="The task's instruction")
    examples: tuple[dict[str, str], ...] = Field((), description="Worked rows (prompt, completion) of few-shot")
    max_new_tokens: int = 160
    batch_size: int = 64
    end_at_blank_line: bool = Field(False, description="For a base model that was never taught to stop")


class Registered(Frozen):
    """A model version; `reused` when the same model, asked the same way, was there already."""

    name: str
    version: str
    uri: str
    model_id: str
    reused: bool


class Champion(Frozen):
    """The version that serves now: its merged weights in a local folder, and its scores.

    `scores.outputs` points at a local copy, for paired tests; `scores` is None when that copy is gone.
    """

    name: str
    version: str
    model: ModelRef
    scores: Scores | None
    run_id: str


def load_line(uri: str, name: str, alias: str = CHAMPION, prompt: str = "play some jazz") -> str:
    """The documented line that loads a registered model and asks it; `uri` is the tracking store's."""
    call = f'mlflow.pyfunc.load_model("models:/{name}@{alias}").predict([{json.dumps(prompt, ensure_ascii=False)}])'
    return f'import mlflow; mlflow.set_tracking_uri("{tracking.masked(uri)}"); print({call})'


def register(
    model: ModelRef,
    name: str,
    *,
    asking: Asking,
    scores: Scores,
    run_id: str,
    datasets: Mapping[str, DatasetRef | None],
    spec_digest: str,
    example: str = "play some jazz",
) -> Registered:
    """Log the model, merged, with signature, lineage and metrics, and make a version of it under `name`.

    The same model asked the same way gives the version that exists; its kept scores are renewed when the data
    they come from changed. Needs `tracking.connect`; `run_id` is the run that the version belongs to.
    """
    talker = tracking.client()
    identity = digest({"model": model.fingerprint, "asking": asking})
    if found := _find(name, identity):
        if found.tags.get("posttrain.outputs") != scores.outputs.fingerprint:
            _keep_scores(name, found.version, run_id, scores, found.tags["posttrain.model_id"])
        return _registered(found, reused=True)
    lineage = {
        "posttrain.identity": identity,
        "posttrain.fingerprint": model.fingerprint,
        "posttrain.base": model.base,
        "posttrain.adapter": model.adapter or "none",
        "posttrain.spec_digest": spec_digest,
        "posttrain.run": run_id,
        **{f"posttrain.dataset.{use}": ref.fingerprint for use, ref in datasets.items() if ref},
        **tracking.code_version(),
    }
    model_id = _log_model(model, name, asking, run_id, lineage, example)
    lineage["posttrain.model_id"] = model_id  # MLflow's SQL registry does not give it back
    _make_name(name)
    made = talker.create_model_version(
        name, f"models:/{model_id}", run_id=run_id, tags=lineage, model_id=model_id, description=_description(scores)
    )
    _keep_scores(name, made.version, run_id, scores, model_id)
    return _registered(made, reused=False)


def champion(name: str) -> Champion | None:
    """The version with the alias `champion`, or None when there is none yet."""
    found = by_alias(name, CHAMPION)
    if found is None:
        return None
    weights = Path(_local(f"models:/{name}/{found.version}"), "artifacts", WEIGHTS)
    return Champion(
        name=name,
        version=str(found.version),
        model=ModelRef(base=str(weights), fingerprint=found.tags["posttrain.fingerprint"]),
        scores=_kept_scores(found),
        run_id=str(found.run_id),
    )


def _log_model(model: ModelRef, name: str, asking: Asking, run_id: str, tags: Mapping[str, str], example: str) -> str:
    """Merge, save and log the weights with the code that asks; returns the logged model's id."""
    import mlflow

    from posttrain.models.load import load_model, load_tokenizer, quiet

    talker = tracking.client()
    experiment_id = talker.get_run(run_id).info.experiment_id
    safe = re.sub(r"[^\w-]", "-", name)
    logged = talker.create_logged_model(experiment_id, name=safe, source_run_id=run_id, tags=dict(tags))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        weights = Path(folder) / WEIGHTS
        load_model(model, device="cpu", merge=True).save_pretrained(weights)
        load_tokenizer(model).save_pretrained(weights)
        mlflow.pyfunc.log_model(
            name=safe,
            model_id=logged.model_id,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(weights)},
            model_config={**asking.model_dump(mode="json"), "fingerprint": model.fingerprint},
            input_example=[example],
            pip_requirements=[f"{package}=={installed(package).split('+')[0]}" for package in REQUIREMENTS],
        )
    return str(logged.model_id)


def _keep_scores(name: str, version: str, run_id: str, scores: Scores, model_id: str) -> None:
    """Log metrics for the model, and keep its outputs for the paired test against the next candidate."""
    talker = tracking.client()
    metrics = {f"{scores.split}/{key}": value for key, value in tracking.score_metrics(scores).items()}
    tracking.log_values(run_id, metrics=metrics, model_id=model_id)
    for ref in (scores.outputs, scores.general, *(part.outputs for part in scores.slices.values())):
        if ref is not None:
            talker.log_artifact(run_id, ref.uri, f"{KEPT}/{ref.fingerprint}")
    talker.log_dict(run_id, scores.model_dump(mode="json"), f"{KEPT}/scores-{version}.json")
    talker.set_model_version_tag(name, version, "posttrain.outputs", scores.outputs.fingerprint)
    talker.set_model_version_tag(name, version, "posttrain.scores_run", run_id)


def _kept_scores(found: ModelVersion) -> Scores | None:
    from mlflow import MlflowException

    try:
        kept = tracking.client().get_run(found.tags["posttrain.scores_run"]).info.artifact_uri + f"/{KEPT}"
        path = Path(_local(f"{kept}/scores-{found.version}.json"))
        scores = Scores.model_validate_json(path.read_text(encoding="utf-8"))
        outputs = _local_ref(kept, scores.outputs)
        general = _local_ref(kept, scores.general) if scores.general else None
        slices = {
            name: part.model_copy(update={"outputs": _local_ref(kept, part.outputs)})
            for name, part in scores.slices.items()
        }
    except (OSError, ValueError, KeyError, MlflowException):
        return None
    return scores.model_copy(update={"outputs": outputs, "general": general, "slices": slices})


def _local_ref(kept: str, ref: DatasetRef) -> DatasetRef:
    return ref.model_copy(update={"uri": _local(f"{kept}/{ref.fingerprint}/{Path(ref.uri).name}")})


def _local(uri: str) -> str:
    """A local path of an artifact: the artifact itself when its store is a local folder."""
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(mlflow.artifacts.download_artifacts(uri))


def _find(name: str, identity: str) -> ModelVersion | None:
    wanted = f"name = '{_quoted(name)}' and tags.`posttrain.identity` = '{identity}'"
    return max(tracking.client().search_model_versions(wanted), key=lambda found: int(found.version), default=None)


def by_alias(name: str, alias: str) -> ModelVersion | None:
    """The version that has the alias; neither the name nor the alias need exist."""
    from mlflow import MlflowException

    try:
        return tracking.client().get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


def _make_name(name: str) -> None:
    from mlflow import MlflowException

    talker = tracking.client()
    if not talker.search_registered_models(f"name = '{_quoted(name)}'"):
        try:
            talker.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise


def _quoted(name: str) -> str:
    return name.replace("'", "''")


def _registered(found: ModelVersion, reused: bool) -> Registered:
    uri = f"models:/{found.name}/{found.version}"
    model_id = found.tags["posttrain.model_id"]
    return Registered(name=found.name, version=str(found.version), uri=uri, model_id=model_id, reused=reused)


def _description(scores: Scores) -> str:
    figures = ", ".join(f"{name} {score}" for name, score in scores.metrics.items())
    return f"{scores.split}, {scores.rows} rows, {scores.prompting}: {figures}"
