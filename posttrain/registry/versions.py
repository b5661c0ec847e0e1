"""Model versions: register one with its lineage, find one again, and the champion among them.

A version holds the safetensors weights that were evaluated, file by file (an adapter was merged before that:
`models.merging`), tokenizer, the task's instruction and the code that asks, so that

    mlflow.pyfunc.load_model("models:/voice-assistant@champion").predict(["play some jazz"])

gives what evaluation saw. Knows nothing of how a model was trained or judged. MLflow is imported on first use.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from posttrain import tracking
from posttrain.artifacts import DatasetRef, Frozen, ModelRef, digest
from posttrain.errors import ModelError
from posttrain.evaluation.scores import Scores
from posttrain.registry.aliases import CHAMPION
from posttrain.registry.find import by_alias, quoted
from posttrain.registry.kept import keep_scores, kept_scores, local

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from posttrain.gates import Verdict

REQUIREMENTS = ("posttrain", "mlflow", "torch", "transformers", "tokenizers", "safetensors", "pydantic")
WEIGHTS = "model"  # folder of a version's artifacts


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


class Incumbent(Frozen):
    """Whom a candidate has to beat; `scores` is None when there is nobody, or nobody but the candidate itself."""

    version: str | None = None
    scores: Scores | None = None
    is_candidate: bool = False


def load_line(uri: str, name: str, alias: str = CHAMPION, prompt: str = "play some jazz") -> str:
    """The documented line that loads a registered model and asks it.

    `uri` is the tracking store's; `alias` may be a version number.
    """
    model = f"models:/{name}/{alias}" if alias.isdecimal() else f"models:/{name}@{alias}"
    call = f'mlflow.pyfunc.load_model("{model}").predict([{json.dumps(prompt, ensure_ascii=False)}])'
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
    trained: ModelRef | None = None,
    example: str = "play some jazz",
) -> Registered:
    """Log the model with signature, lineage and metrics, and make a version of it under `name`.

    `model` is one folder, as `models.merging` or full fine-tuning leaves it; `trained` is what training made, where
    that was an adapter. Raises: `ModelError` for an adapter that is not merged, and for files that changed since they
    were evaluated.

    The same model asked the same way gives the version that exists; its kept scores are renewed when the data
    they come from changed. Needs `tracking.connect`; `run_id` is the run that the version belongs to.
    """
    talker = tracking.client()
    identity = identity_of(model, asking)
    _check_whole(model)
    if found := _find(name, identity):
        if found.tags.get("posttrain.outputs") != scores.outputs.fingerprint:
            keep_scores(name, found.version, run_id, scores, found.tags["posttrain.model_id"])
        return _registered(found, reused=True)
    lineage = {
        "posttrain.identity": identity,
        "posttrain.fingerprint": model.fingerprint,
        "posttrain.base": (trained or model).base,
        "posttrain.adapter": (trained or model).adapter or "none",
        "posttrain.spec_digest": spec_digest,
        "posttrain.run": run_id,
        **{f"posttrain.dataset.{use}": ref.fingerprint for use, ref in datasets.items() if ref},
        **tracking.code_version(),
    }
    model_id, lineage["posttrain.weights"] = _log_model(model, name, asking, run_id, lineage, example)
    lineage["posttrain.model_id"] = model_id  # MLflow's SQL registry does not give it back
    _make_name(name)
    made = talker.create_model_version(
        name, f"models:/{model_id}", run_id=run_id, tags=lineage, model_id=model_id, description=_description(scores)
    )
    keep_scores(name, made.version, run_id, scores, model_id)
    return _registered(made, reused=False)


def keep_verdicts(version: Registered, verdicts: Sequence[Verdict]) -> None:
    """Each gate's verdict as tags of the version: `gate.release` = passed, and its summary."""
    talker = tracking.client()
    present = talker.get_model_version(version.name, version.version).tags
    for verdict in verdicts:
        said = {f"gate.{verdict.name}": verdict.outcome, f"gate.{verdict.name}.summary": verdict.summary}
        for key, value in said.items():
            if present.get(key) != value:
                talker.set_model_version_tag(version.name, version.version, key, value)


def identity_of(model: ModelRef, asking: Asking) -> str:
    """What makes a version: the weights and the way they are asked."""
    return digest({"model": model.fingerprint, "asking": asking})


def incumbent(name: str, model: ModelRef, asking: Asking) -> Incumbent:
    """Who serves now, for a candidate to be tested against; no weights are fetched."""
    found = by_alias(name, CHAMPION)
    if found is None:
        return Incumbent()
    is_candidate = found.tags.get("posttrain.identity") == identity_of(model, asking)
    scores = None if is_candidate else kept_scores(found)
    return Incumbent(version=str(found.version), scores=scores, is_candidate=is_candidate)


def champion(name: str) -> Champion | None:
    """The version with the alias `champion`, or None when there is none yet."""
    from posttrain.models.load import saved_in

    found = by_alias(name, CHAMPION)
    if found is None:
        return None
    weights = Path(local(f"models:/{name}/{found.version}"), "artifacts", WEIGHTS)
    return Champion(
        name=name,
        version=str(found.version),
        model=saved_in(weights, found.tags.get("posttrain.fingerprint", "unknown")),
        scores=kept_scores(found),
        run_id=str(found.run_id),
    )


def _log_model(
    model: ModelRef, name: str, asking: Asking, run_id: str, tags: Mapping[str, str], example: str
) -> tuple[str, str]:
    """Log the weights with the code that asks; returns the logged model's id, and what the weights are."""
    import mlflow

    from posttrain.models.export import weights_digest
    from posttrain.models.load import quiet

    talker = tracking.client()
    experiment_id = talker.get_run(run_id).info.experiment_id
    safe = re.sub(r"[^\w-]", "-", name)
    logged = talker.create_logged_model(experiment_id, name=safe, source_run_id=run_id, tags=dict(tags))
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.log_model(
            name=safe,
            model_id=logged.model_id,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": model.base},
            model_config={**asking.model_dump(mode="json"), "fingerprint": model.fingerprint},
            input_example=[example],
            pip_requirements=[f"{package}=={installed(package).split('+')[0]}" for package in REQUIREMENTS],
        )
    return str(logged.model_id), weights_digest(Path(model.base))


def _check_whole(model: ModelRef) -> None:
    """Raises: `ModelError` unless the folder holds all of the model, and what it held when it was evaluated."""
    from posttrain.models.load import content_digest, saved_in

    folder = Path(model.base)
    if model.adapter != saved_in(folder, "").adapter:
        raise ModelError(f"{model.adapter}: is not merged into {folder}; register what posttrain.models.merging makes")
    if digest(content_digest(folder)) != model.fingerprint:
        raise ModelError(
            f"{folder}: its files are not those that were evaluated ({model.fingerprint}); remove the stage's folder "
            f"{folder.parent} and run again"
        )


def _find(name: str, identity: str) -> ModelVersion | None:
    wanted = f"name = '{quoted(name)}' and tags.`posttrain.identity` = '{identity}'"
    return max(tracking.client().search_model_versions(wanted), key=lambda found: int(found.version), default=None)


def _make_name(name: str) -> None:
    from mlflow import MlflowException

    talker = tracking.client()
    if not talker.search_registered_models(f"name = '{quoted(name)}'"):
        try:
            talker.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise


def _registered(found: ModelVersion, reused: bool) -> Registered:
    uri = f"models:/{found.name}/{found.version}"
    model_id = found.tags["posttrain.model_id"]
    return Registered(name=found.name, version=str(found.version), uri=uri, model_id=model_id, reused=reused)


def _description(scores: Scores) -> str:
    figures = ", ".join(f"{name} {score}" for name, score in scores.metrics.items())
    return f"{scores.split}, {scores.rows} rows, {scores.asked}: {figures}"
