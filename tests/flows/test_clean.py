"""`posttrain clean`: what it finds, what it spares, and that it removes nothing unless it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registered import empty_store_in
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.cli.clean_command import seconds_of, size_in_words
from posttrain import tracking
from posttrain.artifacts import Frozen, ModelRef, Stage, Workspace, run_stage
from posttrain.errors import SpecError

OLD = time.time() - 60 * 86_400
NAME = "tickets"


class Made(Frozen):
    model: ModelRef


def stage(root: Path, name: str, base: str, gives: str, used: float = OLD) -> Path:
    """A finished stage that made the model `gives` of `base`; 1000 bytes and its manifest."""

    def work(partial: Path, final: Path) -> Made:
        (partial / "weights").write_bytes(b"w" * 1000)
        return Made(model=ModelRef(base=str(final), fingerprint=gives))

    done = run_stage(Workspace(root / ".posttrain"), Stage(name, {"base": base}, Made, ()), work)
    os.utime(done.folder / "manifest.json", (used, used))
    return done.folder


def digit(letter: str) -> str:
    return letter * 16


def report(root: Path, run: str, model: str, at: float, name: str = NAME) -> None:
    folder = root / ".posttrain/reports" / f"{name}-{run}"
    folder.mkdir(parents=True)
    (folder / "outcome.json").write_text(json.dumps({"name": name, "scores": [{"model": {"fingerprint": model}}]}))
    os.utime(folder / "outcome.json", (at, at))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    Path("data").mkdir()
    Path("data/rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    data = "data: {train: data/rows.jsonl, test: data/test.jsonl}"
    Path("spec.yaml").write_text(f"name: {NAME}\ntask: {{kind: text}}\n{data}\n")
    return tmp_path


def clean(*options: str) -> Result:
    return CliRunner().invoke(app, ["clean", "spec.yaml", *options])


def said(*options: str) -> str:
    done = clean(*options)
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return " ".join(done.stdout.split())


def test_what_the_newest_runs_came_from_stays(project: Path) -> None:
    first = stage(project, "curate", "raw", digit("a"))
    second = stage(project, "sft", digit("a"), digit("b"))
    lost = stage(project, "sft", digit("c"), digit("d"))
    recent = stage(project, "sft", digit("9"), digit("e"), used=time.time())
    other = stage(project, "sft", digit("f"), digit("0"))
    report(project, "3", digit("b"), OLD + 3)
    report(project, "1", digit("d"), OLD + 1)
    report(project, "9", digit("0"), OLD, name="another")  # the same workspace, another pipeline
    listed = said("--keep", "1")
    assert f"stages/{lost.name}" in listed
    assert "last used 60 days ago; no recent run and no version with an alias leads to it" in listed
    assert "1 in all, 1." in listed
    assert "Nothing was removed; --yes removes them." in listed
    assert lost.exists()
    assert "Nothing to clean" in said("--keep", "2")
    assert "Nothing to clean" in said("--keep", "1", "--older-than", "90d")
    assert "removed." in said("--keep", "1", "--yes")
    assert [folder.exists() for folder in (first, second, lost, recent, other)] == [True, True, False, True, True]
    assert "Nothing to clean" in said("--keep", "1")


def test_old_checkpoints_go_and_fresh_ones_stay(project: Path) -> None:
    for name, at in (("sft-old", OLD), ("sft-new", time.time())):
        folder = project / ".posttrain/partial" / name
        (folder / "checkpoint-5").mkdir(parents=True)
        (folder / "checkpoint-5/state").write_bytes(b"s" * 500)
        for path in (folder / "checkpoint-5/state", folder / "checkpoint-5", folder):
            os.utime(path, (at, at))
    assert "left by a stage that stopped 60 days ago" in said()
    said("--yes")
    assert [path.name for path in (project / ".posttrain/partial").iterdir()] == ["sft-new"]


@pytest.fixture
def at_work(project: Path) -> Iterator[Path]:
    """A process whose log says that it runs a pipeline here."""
    (project / ".posttrain/logs").mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        log = project / f".posttrain/logs/run-20261130-080000-{process.pid}.log"
        log.write_text("at work\n")
        yield log
        process.kill()


def test_nothing_is_removed_while_a_run_is_in_progress(at_work: Path, project: Path) -> None:
    lost = stage(project, "sft", digit("c"), digit("d"))
    assert "is in progress; --yes would remove nothing" in said()
    done = clean("--yes")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "in use by a run of process" in done.stderr
    assert lost.exists()
    os.utime(at_work, (1, 1))  # written before that process began: only the number is the same
    assert "removed." in said("--yes")


def test_a_wrong_age_is_refused() -> None:
    assert (seconds_of("2d"), seconds_of("12h")) == (172_800, 43_200)
    with pytest.raises(SpecError, match="found 'a month', expected a number of days"):
        seconds_of("a month")


def test_sizes_in_words() -> None:
    assert [size_in_words(size) for size in (12, 1500, 2.5e9)] == ["12 B", "1.5 kB", "2.5 GB"]


# --- MLflow ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return empty_store_in(tmp_path_factory.mktemp("store"))


def run_with_artifacts(days: int, tags: dict[str, str]) -> str:
    """An ended run with 2000 bytes of artifacts, half of them a stage's."""
    talker, at = tracking.client(), round((time.time() - days * 86_400) * 1000)
    experiment = talker.get_experiment_by_name(NAME)
    assert experiment is not None
    run = talker.create_run(experiment.experiment_id, start_time=at, tags={"posttrain.ending": "promoted", **tags})
    parent = str(run.info.run_id)
    nested = talker.create_run(experiment.experiment_id, start_time=at, tags={"mlflow.parentRunId": parent})
    for each in (parent, str(nested.info.run_id)):
        talker.log_text(each, "x" * 1000, "folder/page.txt")
        talker.log_metric(each, "slot_f1", 0.5)
        talker.set_terminated(each, "FINISHED", end_time=at)
    return parent


def files(run_id: str) -> list[str]:
    return [entry.path for entry in tracking.client().list_artifacts(run_id)]


def test_old_runs_lose_their_artifacts_but_those_behind_a_version_do_not(project: Path, empty_store: bytes) -> None:
    Path("mlruns").mkdir()
    Path("mlruns/mlflow.db").write_bytes(empty_store)
    tracking.connect(project, NAME)
    talker = tracking.client()
    registered, measured, old, newest = (run_with_artifacts(days, {}) for days in (70, 65, 60, 50))
    recent = run_with_artifacts(1, {})
    working = talker.create_run(talker.get_run(old).info.experiment_id, start_time=1)
    talker.log_text(working.info.run_id, "x", "page.txt")
    talker.create_registered_model(NAME)
    version = talker.create_model_version(NAME, "file:///nowhere", run_id=registered)
    talker.set_model_version_tag(NAME, version.version, "posttrain.scores_run", measured)
    needed = stage(project, "sft", digit("a"), digit("b"))
    talker.set_model_version_tag(NAME, version.version, "posttrain.fingerprint", digit("b"))
    talker.set_registered_model_alias(NAME, "champion", version.version)

    listed = said("--keep", "2")
    assert "MLflow artifacts" in listed
    assert "no registered version needs them" in listed
    assert "1 in all, 2.0 kB. Nothing was removed" in listed
    assert files(old) == ["folder"]
    assert "1 in all, 2.0 kB: removed." in said("--keep", "2", "--yes")
    assert files(old) == []
    for run in (registered, measured, newest, recent):
        assert files(run) == ["folder"], run
    assert files(working.info.run_id) == ["page.txt"]
    assert talker.get_run(old).data.metrics == {"slot_f1": 0.5}
    assert needed.exists(), "the champion was made from it"
    assert "Nothing to clean" in said("--keep", "2")
    talker.delete_registered_model_alias(NAME, "champion")
    assert f"stages/{needed.name}" in said("--keep", "2")
