"""A plan says what a run would do, without doing any of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Pipeline, small_project
from typer.testing import CliRunner

from flows.cli import app
from flows.cli.planning import STAGES, LookOnly, NotDone, dangers, make_plan
from posttrain import preflight
from posttrain.artifacts import DatasetRef, Frozen, Stage, Workspace, run_stage
from posttrain.models.hardware import Devices


class Result(Frozen):
    rows: DatasetRef


def _work(partial: Path, final: Path) -> Result:
    (partial / "rows").write_text("x", encoding="utf-8")
    return Result(rows=DatasetRef(uri=str(final / "rows"), fingerprint="f", rows=1))


def test_a_look_only_workspace_finds_what_is_there_and_begins_nothing(tmp_path: Path) -> None:
    stage = Stage("some", {"seed": 1}, Result, ("posttrain.errors",))
    with pytest.raises(NotDone):
        run_stage(LookOnly(tmp_path), stage, _work)
    assert list(tmp_path.iterdir()) == []
    made = run_stage(Workspace(tmp_path), stage, _work)
    assert run_stage(LookOnly(tmp_path), stage, _work).result == made.result


def test_a_fresh_project_would_run_everything_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = small_project(tmp_path / "project")
    monkeypatch.chdir(project.root)
    before = sorted(project.root.rglob("*"))
    plan = make_plan(preflight.check(project.spec))
    # This spec has no teacher, and full fine-tuning has no adapter to merge.
    assert [stage.name for stage in plan.stages] == [name for name in STAGES[1:] if name != "merge"]
    assert {stage.state for stage in plan.stages} == {"would run", "may run"}
    assert [stage.state for stage in plan.stages[:4]] == ["would run"] * 4
    assert all(stage.seconds > 0 and stage.memory_bytes > 0 and stage.why for stage in plan.stages)
    assert plan.rows == 280  # forty of each of seven intents
    assert plan.sft["learning_rate"] == 0.001
    assert sorted(project.root.rglob("*")) == before


def test_an_adapter_is_merged_before_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = small_project(tmp_path / "project")
    project.spec.write_text(project.spec.read_text(encoding="utf-8").replace("method: full", "method: lora"))
    monkeypatch.chdir(project.root)
    merge, test = make_plan(preflight.check(project.spec)).stages[-2:]
    assert (merge.name, merge.state, test.name) == ("merge", "may run", "test")
    assert merge.seconds > 0
    assert merge.memory_bytes > 0


def test_what_if_it_ran_on_four_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = small_project(tmp_path / "project")
    monkeypatch.chdir(project.root)
    here, there = (make_plan(preflight.check(project.spec), devices) for devices in (None, Devices.parse("4x80")))
    assert there.hardware["devices"] == "4 × 80 GB (A100)"
    assert (there.hardware.distribution, there.hardware.processes) == ("ddp", 4)
    sft = there.sft
    assert int(sft["micro_batch_size"]) * int(sft["accumulation"]) * 4 == sft["batch_size"]
    assert there.hardware["micro_batch_size"] == sft["micro_batch_size"]
    assert sum(stage.seconds for stage in there.stages) < sum(stage.seconds for stage in here.stages)
    shown = CliRunner().invoke(app, ["plan", str(project.spec), "--devices", "1x24 L4"])
    assert "1 × 24 GB (L4)" in shown.output
    wrong = CliRunner().invoke(app, ["plan", str(project.spec), "--devices", "four"])
    assert wrong.exit_code == 2


def test_a_dangerous_value_is_warned_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = small_project(tmp_path / "project")
    monkeypatch.chdir(project.root)
    text = project.spec.read_text(encoding="utf-8")
    project.spec.write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.1"), encoding="utf-8")
    checked = preflight.check(project.spec)
    told = [line for line in dangers(checked) if "learning_rate" in line]
    assert len(told) == 1
    assert told[0].startswith("sft: learning_rate 0.1 is 100 × the recommended 0.001")
    assert make_plan(checked).dangers == dangers(checked)
    shown = CliRunner().invoke(app, ["plan", str(project.spec)], env={"COLUMNS": "300"})
    assert shown.output.count("100 × the recommended") == 1


def test_planning_imports_neither_prefect_nor_torch() -> None:
    program = "import sys, flows.cli.plan_command; print({'prefect', 'torch', 'mlflow', 'trl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_after_a_run_the_plan_finds_every_stage_that_ran(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the flow is written in `flows/cli/planning.py` again: here both meet."""
    monkeypatch.chdir(pipeline.project.root)
    plan = make_plan(preflight.check(pipeline.project.spec))
    states = {stage.name: stage.state for stage in plan.stages}
    ran = set(pipeline.outcome["stage_seconds"]) & set(STAGES)
    assert {name for name, state in states.items() if state == "unchanged"} == ran
    assert {state for name, state in states.items() if name not in ran} <= {"not needed"}
    assert plan.seconds_left == 0


def test_a_changed_learning_rate_replans_sft_and_nothing_before(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pipeline.project.root)
    changed = pipeline.project.root / "changed.yaml"
    text = pipeline.project.spec.read_text(encoding="utf-8")
    changed.write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.0008"), encoding="utf-8")
    states = {stage.name: stage.state for stage in make_plan(preflight.check(changed)).stages}
    changed.unlink()
    assert [states[name] for name in STAGES[1:5]] == ["unchanged"] * 4
    assert states["sft"] == states["after-sft"] == "would run"
