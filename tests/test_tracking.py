"""MLflow runs are written to a real SQLite store and read back from it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
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


def test_what_the_spec_says_stands_in_the_compare_view_and_the_flow_in_the_name(root: Path) -> None:
    said = {"sft": {"learning_rate": 2e-4}, "seed": 0}
    with tracking.pipeline_run("voice-assistant", "spec", flow="mine", params=said) as run_id:
        pass
    run = tracking.client().get_run(run_id)
    assert run.data.params == {"sft.learning_rate": "0.0002", "seed": "0"}
    assert run.info.run_name.startswith("voice-assistant mine 2")


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
import time
from collections.abc import Callable
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


def test_a_run_says_how_busy_the_machine_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    with tracking.pipeline_run("voice-assistant", "spec") as busy:
        wait_for(lambda: "system/cpu_utilization_percentage" in tracking.client().get_run(busy).data.metrics)
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with tracking.pipeline_run("voice-assistant", "spec") as unwatched:
        pass

    assert tracking.client().get_run(busy).data.metrics["system/system_memory_usage_megabytes"] > 0
    assert not tracking.client().get_run(unwatched).data.metrics


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_same_data_gives_the_same_digest_and_other_data_another(root: Path) -> None:
    def digest_of(fingerprint: str) -> str:
        rows = DatasetRef(uri="train.parquet", fingerprint=fingerprint, rows=3)
        with tracking.pipeline_run("voice-assistant", "spec") as run:
            tracking.log_data(run, {"train": rows})
        found = tracking.client().get_run(run)
        assert [(each.dataset.name, each.dataset.digest) for each in found.inputs.dataset_inputs] == [
            ("train", fingerprint)
        ]
        return found.data.tags["posttrain.data_digest"]

    assert digest_of("a" * 16) == digest_of("a" * 16) != digest_of("b" * 16)


@pytest.mark.parametrize(("price", "expected"), [(None, None), (3.6, 0.02)])
def test_the_cost_counts_what_ran_and_not_what_was_found(
    root: Path, price: float | None, expected: float | None
) -> None:
    with tracking.pipeline_run("voice-assistant", "spec") as run:
        tracking.log_cost(run, {"curate": 100.0, "sft": 20.0}, ("curate",), price)
    metrics = tracking.client().get_run(run).data.metrics

    assert (metrics["cost/seconds"], metrics["cost/saved_seconds"]) == (20.0, 100.0)
    assert metrics.get("cost/price") == (None if expected is None else pytest.approx(expected))
