"""A registered version is exported as what was evaluated, or not at all; with fewer bits only past the gates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as arrow
import pytest
import torch
from adapters import random_llama, with_adapter
from pyarrow import parquet
from registered import scored
from typer.testing import CliRunner

from flows.cli import app
from posttrain import registry, tracking
from posttrain.artifacts import DatasetRef, ModelRef, Workspace, file_digest
from posttrain.errors import ModelError, WorkspaceError
from posttrain.exporting import Exported, demands, export_version, measuring
from posttrain.models.load import load_model
from posttrain.models.merging import merge
from posttrain.registry import Asking
from posttrain.registry.exported import Weights, weights_of
from posttrain.registry.kept import local
from posttrain.spec import PipelineSpec, load

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

NAME = "parts"
SPEC = """\
name: parts
task: {kind: extraction}
data: {train: [rows.jsonl], test: [others.jsonl]}
evaluate: {max_new_tokens: 4, resamples: 50}
gates:
  release:
    - {metric: field_f1, above: champion, significant: true}
"""


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("model")
    base = random_llama(folder / "base", ["play the last song by Sade", '{"artist": "Sade"}'])
    return with_adapter(base, folder / "adapter")


@pytest.fixture(scope="module")
def released(adapted: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """As one folder, which is what is tested and registered."""
    return merge(adapted, Workspace(tmp_path_factory.mktemp("merged"))).result.model


@pytest.fixture(scope="module")
def store(
    adapted: ModelRef, released: ModelRef, empty_store: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder whose store has one version of the model, and no champion."""
    root = tmp_path_factory.mktemp("store")
    (root / "mlflow.db").write_bytes(empty_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        tracking.connect(root, "export-test")
        with tracking.pipeline_run("export-test", "spec") as run:
            registry.register(
                released,
                NAME,
                trained=adapted,
                asking=Asking(max_new_tokens=4),
                scores=scored(root, "scores", [1, 0, 1]),
                run_id=run,
                datasets={},
                spec_digest="0",
            )
        yield root


@pytest.fixture
def weights(store: Path, released: ModelRef) -> Weights:
    return Weights(
        name=NAME,
        version="1",
        model=ModelRef(base=local(f"models:/{NAME}/1") + "/artifacts/model", fingerprint=released.fingerprint),
        run_id="r",
        checked=(),
    )


def test_a_version_is_written_whole_and_answers_as_base_and_adapter(
    store: Path, adapted: ModelRef, released: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", f"{NAME}@1", "--to", "out/model"])
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "parts version 1 is in out/model: merged" in text
    assert "it is what was evaluated, by the digest noted on registering and base and adapter" in text
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        copy = load_model(ModelRef(base="out/model", fingerprint=""), device="cpu")(ids).logits
        assert torch.allclose(copy, load_model(adapted, device="cpu")(ids).logits, atol=1e-4)
    told = json.loads(Path("out/model/export.json").read_text())
    assert (told["version"], told["format"], told["evaluated_as"]) == ("1", "merged", released.fingerprint)

    again = CliRunner().invoke(app, ["export", NAME, "--to", "out/model"])
    assert again.exit_code == 2
    assert "out/model: is there already, expected a new folder" in again.stderr


def test_weights_that_changed_since_are_refused(store: Path, adapted: ModelRef, weights: Weights) -> None:
    """Once by the digest, and once by base and adapter, for a version that was registered without one."""
    assert weights_of(NAME).checked == ("the digest noted on registering", "base and adapter")
    file = Path(weights.model.base, "model.safetensors")
    kept, client = file.read_bytes(), tracking.client()
    noted = client.get_model_version(NAME, "1").tags["posttrain.weights"]
    shutil.copy(Path(adapted.base, "model.safetensors"), file)  # the adapter is dropped
    try:
        with pytest.raises(ModelError, match="are not those that were registered"):
            weights_of(NAME)
        client.delete_model_version_tag(NAME, "1", "posttrain.weights")
        with pytest.raises(ModelError, match="answers as the base alone: the adapter was dropped"):
            weights_of(f"{NAME}@1")
    finally:
        file.write_bytes(kept)
        client.set_model_version_tag(NAME, "1", "posttrain.weights", noted)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("rows.jsonl", "others.jsonl"):
        (tmp_path / name).write_text('{"prompt": "play Sade", "completion": {"artist": "Sade"}}\n')
    (tmp_path / "parts.yaml").write_text(SPEC)
    return tmp_path


def written(weights: Weights, project: Path, spec: PipelineSpec) -> Exported:
    rows = [
        {"id": str(i), "system": "", "prompt": f"play Sade {i}", "completion": '{"artist": "Sade"}'} for i in range(4)
    ]
    path = project / "test.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    ref = DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=4)
    measure = measuring(spec, project, ref, None, project / "work")
    return export_version(weights, project / "int8", "int8", spec, measure)


def test_eight_bits_are_measured_against_the_version_itself(weights: Weights, project: Path) -> None:
    pytest.importorskip("torchao")
    done = written(weights, project, load(project / "parts.yaml", project).spec)
    assert done.verdict is not None
    assert done.verdict.passed
    (check,) = done.verdict.checks
    assert (check.requirement, check.gain) == ("not worse than previous by over 0.02", 0.0)
    assert done.before is not None
    assert done.before.model.fingerprint == weights.model.fingerprint, "outputs of the evaluation are found again"
    told = json.loads((project / "int8/export.json").read_text())
    assert told["scores"]["field_f1"] == 0.0
    assert "quantization_config" in json.loads((project / "int8/config.json").read_text())


def test_what_the_gates_refuse_is_not_written(weights: Weights, project: Path) -> None:
    pytest.importorskip("torchao")
    strict = SPEC.replace("{metric: field_f1, above: champion, significant: true}", "{metric: stop_rate, at_least: 1}")
    (project / "strict.yaml").write_text(strict)
    with pytest.raises(ModelError, match=r"parts version 1 as int8: refused: stop_rate .* is below 1; nothing was"):
        written(weights, project, load(project / "strict.yaml", project).spec)
    assert not (project / "int8").exists()
    assert not list(project.glob(".int8*"))


def test_fewer_bits_want_a_spec(weights: Weights, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found no spec that says how; give --spec SPEC"):
        export_version(weights, tmp_path / "out", "int8")
    with pytest.raises(WorkspaceError, match="is there already"):
        export_version(weights, tmp_path, "merged")
    assert not list(tmp_path.iterdir())


def test_demands_on_a_copy_are_those_of_the_release_against_the_model_itself(project: Path) -> None:
    text = SPEC.replace(
        "    - {metric: field_f1, above: champion, significant: true}\n",
        "    - {metric: field_f1, at_least: 0.8, above: champion, significant: true}\n"
        "    - {metric: valid_json, not_worse_than: champion, margin: 0.1, relative: true}\n",
    )
    (project / "more.yaml").write_text(text)
    asked = demands(load(project / "more.yaml", project).spec, scored(project, "x", [1]))
    assert [(each.metric, each.at_least, each.not_worse_than, each.margin, each.relative) for each in asked] == [
        ("field_f1", 0.8, None, 0.0, False),
        ("field_f1", None, "previous", 0.02, False),
        ("valid_json", None, "previous", 0.1, True),
    ]
    empty = SPEC.split("gates:")[0] + "gates: {release: []}\n"
    (project / "empty.yaml").write_text(empty)
    (only,) = demands(load(project / "empty.yaml", project).spec, scored(project, "y", [1]))
    assert (only.metric, only.not_worse_than, only.margin) == ("field_f1", "previous", 0.02)
