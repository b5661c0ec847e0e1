"""MLflow runs are written to a real SQLite store and read back from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from posttrain import tracking
from posttrain.artifacts import DatasetRef, Done, Frozen, ModelRef
from posttrain.errors import UserError, WorkspaceError


class TrainedForTest(Frozen):
    loss: float


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory):
    """A project folder whose store is open; MLFLOW_TRACKING_URI is put back afterwards."""
    folder = tmp_path_factory.mktemp("project")
    before = os.environ.pop("MLFLOW_TRACKING_URI", None)
    tracking.connect(folder, "voice-assistant")
    yield folder
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


def done(folder: Path, *, reused: bool = False, seconds: float = 12.5) -> Done[TrainedForTest]:
    return Done("sft", TrainedForTest(loss=0.1), folder, "abcd1234abcd1234", reused, seconds)


def test_the_store_lies_under_the_project_and_keeps_artifacts_beside_it(root: Path) -> None:
    with tracking.pipeline_run("voice-assistant", "name: voice-assistant\n") as run_id:
        pass
    artifacts = list((root / "mlruns" / "artifacts").rglob("spec.yaml"))
    assert (root / "mlruns" / "mlflow.db").is_file()
    assert [path.read_text() for path in artifacts if run_id in str(path)] == ["name: voice-assistant\n"]
    assert tracking.client().get_run(run_id).info.status == "FINISHED"


def test_a_stage_is_a_nested_run_with_params_curve_datasets_and_model(root: Path, tmp_path: Path) -> None:
    rows = DatasetRef(uri=str(tmp_path / "train.parquet"), fingerprint="f" * 16, rows=42)
    with tracking.pipeline_run("voice-assistant", "spec") as parent:
        stage = tracking.log_stage(
            parent,
            done(tmp_path),
            params={"sft": {"learning_rate": 2e-4, "targets": ["q", "v"]}, "seed": 0},
            metrics={"slot_f1": 0.8, "perplexity": None},
            datasets={"training": rows, "general": None},
            curve=[(10, {"loss": 2.0}), (20, {"loss": 1.0, "eval_loss": 1.5})],
            tables={"outputs": [{"prompt": "play jazz", "output": "{}"}, {"prompt": "stop"}]},
            model=ModelRef(base="tiny", adapter="/w/adapter", fingerprint="1" * 16),
        )
    client = tracking.client()
    run = client.get_run(stage)
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.params == {"sft.learning_rate": "0.0002", "sft.targets": '["q", "v"]', "seed": "0"}
    assert run.data.metrics["sft/slot_f1"] == 0.8
    assert "sft/perplexity" not in run.data.metrics
    assert [(m.step, m.value) for m in client.get_metric_history(stage, "sft/loss")] == [(10, 2.0), (20, 1.0)]
    assert [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs] == [("training", "f" * 16)]
    assert run.info.end_time - run.info.start_time == pytest.approx(12_500, abs=2)
    assert client.get_run(parent).data.metrics["sft/slot_f1"] == 0.8
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert model.tags["posttrain.adapter"] == "/w/adapter"
    assert {metric.key for metric in model.metrics} >= {"sft/slot_f1", "sft/loss"}


def test_a_reused_stage_is_logged_with_the_same_metrics_and_no_time(root: Path, tmp_path: Path) -> None:
    with tracking.pipeline_run("voice-assistant", "spec") as parent:
        fresh = tracking.log_stage(parent, done(tmp_path), metrics={"slot_f1": 0.8})
        again = tracking.log_stage(parent, done(tmp_path, reused=True), metrics={"slot_f1": 0.8})
    first, second = (tracking.client().get_run(run_id) for run_id in (fresh, again))
    assert first.data.metrics == second.data.metrics
    assert (first.data.tags["posttrain.reused"], second.data.tags["posttrain.reused"]) == ("false", "true")
    assert second.info.end_time == second.info.start_time


def test_a_long_curve_is_logged_whole(root: Path, tmp_path: Path) -> None:
    curve = [(step, {"loss": 1 / (step + 1), "rate": 1.0}) for step in range(1_100)]
    with tracking.pipeline_run("voice-assistant", "spec") as parent:
        stage = tracking.log_stage(parent, done(tmp_path), curve=curve)
    history = tracking.client().get_metric_history(stage, "sft/loss")
    assert [point.step for point in history] == list(range(1_100))


@pytest.mark.parametrize(
    ("error", "status"), [(UserError("x.jsonl:3: bad"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_run_says_how_it_ended(root: Path, error: BaseException, status: str) -> None:
    seen: list[str] = []

    def run() -> None:
        with tracking.pipeline_run("voice-assistant", "spec") as parent, tracking.stage_run(parent, "sft") as stage:
            seen.extend([parent, stage])
            raise error

    with pytest.raises(type(error)):
        run()
    runs = [tracking.client().get_run(run_id) for run_id in seen]
    assert [run.info.status for run in runs] == [status, status]
    if status == "FAILED":
        assert runs[1].data.tags["posttrain.error"] == "UserError: x.jsonl:3: bad"


def test_secrets_stay_out(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    uri = "s3://key:verysecret@bucket/train.parquet"
    with tracking.pipeline_run("voice-assistant", "spec", tags={"from": uri}) as parent:
        rows = DatasetRef(uri=uri, fingerprint="f" * 16, rows=1)
        stage = tracking.log_stage(parent, done(tmp_path), params={"path": uri}, datasets={"training": rows})
    logged = [str(tracking.client().get_run(run_id).to_dictionary()) for run_id in (parent, stage)]
    assert not any("verysecret" in text for text in logged)
    assert "s3://***@bucket/train.parquet" in logged[1]


def test_a_store_that_cannot_be_made_is_a_one_line_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlruns").write_text("a file where the folder should be")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(WorkspaceError, match=r"mlflow\.db: MLflow store cannot be opened .*; make") as caught:
        tracking.connect(tmp_path, "x")
    assert "\n" not in str(caught.value)


def test_importing_is_light_and_the_terminal_stays_clean(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from posttrain import tracking
assert "mlflow" not in sys.modules and "torch" not in sys.modules
tracking.connect(Path({str(tmp_path)!r}), "quiet")
with tracking.pipeline_run("quiet", "spec") as parent:
    with tracking.stage_run(parent, "sft") as stage:
        tracking.log_values(stage, metrics={{"loss": 1.0}}, tables={{"rows": [{{"a": 1}}]}})
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_mlflow_tracking_uri_is_respected(tmp_path: Path) -> None:
    """In its own process: the store of the other tests stays the one that is open."""
    root = str(tmp_path / "p")
    script = f"from pathlib import Path; from posttrain import tracking; print(tracking.connect(Path({root!r}), 'x'))"
    uri = f"sqlite:///{tmp_path}/elsewhere.db"
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert ran.stdout.strip() == uri
    assert (tmp_path / "elsewhere.db").is_file()
    assert not (tmp_path / "p").exists()
