"""The whole chain as a user runs it, on a small part of the real data."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from conftest import Pipeline

STAGES = (
    "validate",
    "curate",
    "baseline-zero-shot",
    "baseline-few-shot",
    "decide-strategy",
    "sft",
    "after-sft",
    "gate-after-sft",
    "decide-after-sft",
    "pairs",
    "dpo",
    "after-dpo",
    "gate-after-align",
    "test",
    "gate-release",
    "register",
    "promote",
    "report",
)


@pytest.fixture(scope="module")
def database(pipeline: Pipeline) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(pipeline.project.root / "prefect-home" / "prefect.db")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def store(pipeline: Pipeline) -> Iterator[Any]:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(pipeline.outcome["mlflow_uri"])
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)


def test_every_stage_tells_how_it_ended(pipeline: Pipeline) -> None:
    for stage in STAGES:
        assert stage in pipeline.output, pipeline.output


def test_the_first_model_becomes_champion(pipeline: Pipeline) -> None:
    assert pipeline.outcome["ending"] == "promoted"
    assert pipeline.outcome["alias"] == "champion"


def test_the_decisions_say_why(pipeline: Pipeline) -> None:
    actions = {decision["step"]: decision["action"] for decision in pipeline.outcome["decisions"]}
    assert actions == {"baseline": "sft", "after_sft": "align"}
    assert all(decision["reasons"] for decision in pipeline.outcome["decisions"])


def test_report_and_data_docs_lie_where_the_run_says(pipeline: Pipeline) -> None:
    page = Path(pipeline.outcome["report"]).read_text(encoding="utf-8")
    for expected in ("slot_f1", "align", "intent_accuracy"):
        assert expected in page
    assert Path(pipeline.outcome["data_docs"]).exists()


def test_prefect_has_a_task_run_for_every_stage(database: sqlite3.Connection) -> None:
    names = [name for (name,) in database.execute("select name from task_run where state_type = 'COMPLETED'")]
    for stage in STAGES:
        assert any(name.startswith(stage) for name in names), (stage, names)
    assert {state for (state,) in database.execute("select state_type from flow_run")} == {"COMPLETED"}


def test_prefect_has_an_artifact_for_every_stage(database: sqlite3.Connection) -> None:
    keys = {key for (key,) in database.execute("select key from artifact where key is not null")}
    assert keys >= set(STAGES)


def test_mlflow_has_a_nested_run_for_every_stage(pipeline: Pipeline, store: Any) -> None:
    parent = store.get_run(pipeline.outcome["mlflow_run_id"])
    assert parent.info.run_name.startswith("small retrain ")
    assert parent.data.params["sft.learning_rate"] == "0.001"
    assert parent.info.status == "FINISHED"
    children = store.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    by_name = {run.info.run_name: run for run in children}
    assert {"validate", "curate", "baseline-zero-shot", "sft", "after-sft", "pairs", "dpo", "test"} <= set(by_name)
    sft = by_name["sft"]
    assert sft.data.params["learning_rate"] == "0.001"
    assert {dataset.dataset.name for dataset in sft.inputs.dataset_inputs} == {"train", "validation"}
    losses = store.get_metric_history(sft.info.run_id, "sft/loss")
    assert len(losses) > 5
    assert losses[-1].value < losses[0].value


def test_the_registered_model_answers_as_in_evaluation(pipeline: Pipeline, store: Any) -> None:
    import mlflow

    (test,) = [scores for scores in pipeline.outcome["scores"] if scores["split"] == "test"]
    rows = parquet.read_table(test["outputs"]["uri"]).slice(0, 12).to_pylist()
    model = mlflow.pyfunc.load_model("models:/small@champion")
    assert model.predict([row["prompt"] for row in rows]) == [row["output"] for row in rows]


def test_a_second_run_finds_every_stage_unchanged(pipeline: Pipeline) -> None:
    before = _stage_folders(pipeline)
    again = pipeline.project.posttrain("run", "small.yaml")
    assert again.returncode == 0, again.stdout + again.stderr
    assert _stage_folders(pipeline) == before
    assert "already" in again.stdout


def _stage_folders(pipeline: Pipeline) -> dict[str, float]:
    stages = pipeline.project.root / ".posttrain" / "stages"
    return {folder.name: folder.stat().st_mtime for folder in stages.iterdir()}
