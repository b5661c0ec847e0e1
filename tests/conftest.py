"""A small real pipeline: some hundred SNIPS rows, the embedded base, run once a session through the command line."""

from __future__ import annotations

import functools
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent
DATA = PROJECT / "data"

SMALL_SPEC = """\
name: small
task:
  kind: intent_slots
  instruction: "Turn the command into JSON: intent and slots."
data:
  train: [{path: data/train.jsonl.gz, format: intent_slots}]
  test: [{path: data/test.jsonl.gz, format: intent_slots}]
  general: [data/general.jsonl.gz]
  general_held_out: [data/held_out.jsonl.gz]
curate: {validation_rows: 42, general_share: 0.05}
evaluate: {baseline_rows: 21, few_shot_examples: 2, max_new_tokens: 48, perplexity_rows: 20, resamples: 500}
strategy:
  targets: {intent_accuracy: 0.97, slot_f1: 0.80}
  align: always
  min_rows: 100
sft: {method: full, learning_rate: 0.001, num_train_epochs: 3, batch_size: 16, save_steps: 5}
align: {prompts: 24, samples: 4, batch_size: 8}
gates:
  after_sft: [{metric: valid_json, above: baseline}]
  after_align: [{metric: slot_f1, not_worse_than: previous, margin: 0.2}]
  release: [{metric: valid_json, at_least: 0.01}]
resources: {retry_delay_seconds: 0, threads: 1}
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes a file at a time, those that run whole pipelines first, or one of them would be left for the end.

    The files that need the small pipeline go to one worker, which then runs it once.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types here
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "pipeline" if _holds(file, "pipeline: Pipeline") else file

        def _assign_work_unit(self, node: Any) -> None:
            whole = [scope for scope in self.workqueue if scope == "pipeline" or _holds(scope, 'posttrain("run"')]
            for scope in whole:
                self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    return ByFile(config, log)


@functools.cache
def _holds(file: str, text: str) -> bool:
    return text in (PROJECT / file).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Project:
    """A folder with a spec and its data, and an environment in which nothing is shared with other tests."""

    root: Path
    environment: dict[str, str]

    @property
    def spec(self) -> Path:
        return self.root / "small.yaml"

    def posttrain(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a user would, in this folder."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "posttrain"), *arguments],
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )


@dataclass(frozen=True)
class Pipeline:
    """A project whose pipeline has run, and what the run said."""

    project: Project
    output: str
    outcome: dict[str, Any]


def small_project(root: Path) -> Project:
    """Forty rows of each intent for training, six of each for the test, and a little general text."""
    (root / "data").mkdir(parents=True)
    voice, general = DATA / "voice_assistant", DATA / "general"
    _some_of_each_intent(voice / "train.jsonl.gz", root / "data/train.jsonl.gz", 40)
    _some_of_each_intent(voice / "test.jsonl.gz", root / "data/test.jsonl.gz", 6)
    with gzip.open(general / "train.jsonl.gz") as lines, gzip.open(root / "data/general.jsonl.gz", "wb") as out:
        out.writelines(lines.readlines()[:100])
    shutil.copy(general / "held_out.jsonl.gz", root / "data/held_out.jsonl.gz")
    (root / "small.yaml").write_text(SMALL_SPEC, encoding="utf-8")
    return Project(root, environment(root))


def environment(root: Path) -> dict[str, str]:
    """What a run in this folder is told, and nothing else: no store is shared with other tests."""
    return {
        "PREFECT_HOME": str(root / "prefect-home"),
        # A flow without `posttrain` around it starts Prefect's own server, whose 20 s are too few for a slow machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "HF_HUB_OFFLINE": "1",
        # Two workers on two cores: a second thread of each would wait for a core more than it worked.
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "LANG": "C.UTF-8",
    }


def _some_of_each_intent(source: Path, target: Path, rows: int) -> None:
    kept: dict[str, list[bytes]] = defaultdict(list)
    with gzip.open(source) as lines:
        for line in lines:
            intent = json.loads(line.decode("latin-1"))["intent"]
            if len(kept[intent]) < rows:
                kept[intent].append(line)
    with gzip.open(target, "wb") as out:
        out.writelines(line for lines_of_intent in kept.values() for line in lines_of_intent)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The small pipeline, run to its end."""
    project = small_project(tmp_path_factory.mktemp("pipeline"))
    done = project.posttrain("run", "small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = sorted((project.root / ".posttrain/reports").rglob("outcome.json"))
    assert len(outcomes) == 1
    return Pipeline(project, done.stdout, json.loads(outcomes[0].read_text(encoding="utf-8")))
