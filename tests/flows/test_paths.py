"""The five shipped specs in pipelines/paths: real data, the embedded base, and five ways through the flowchart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import DATA, PROJECT, Project, environment

PATHS = PROJECT / "pipelines/paths"
SMALLER: dict[str, dict[str, Any]] = {
    "prompt_is_enough": {"curate": {"validation_rows": 40}, "evaluate": {"baseline_rows": 40}},
    "few_shot": {"evaluate": {"baseline_rows": 60}},
    "collect_more_data": {
        "curate": {"validation_rows": 40},
        "evaluate": {"baseline_rows": 20, "few_shot_examples": 0, "max_new_tokens": 6, "resamples": 500},
        "sft": {"num_train_epochs": 1},
    },
    "sft_passes": {
        "curate": {"validation_rows": 60},
        "evaluate": {"baseline_rows": 20, "few_shot_examples": 0, "perplexity_rows": 20, "resamples": 500},
        "strategy": {"targets": {"accuracy": 0.8}},
        "sft": {"num_train_epochs": 1},
        "gates": {"release": [{"metric": "accuracy", "at_least": 0.85}]},
    },
    "sft_then_dpo": {
        "curate": {"validation_rows": 120},
        "evaluate": {"baseline_rows": 20, "few_shot_examples": 0, "perplexity_rows": 20, "resamples": 500},
        "sft": {"num_train_epochs": 1},
        "align": {"prompts": 40},
        "gates": {"release": [{"metric": "slot_f1", "at_least": 0.5}]},
    },
}
"""What a spec's sections say otherwise here, so that its run is short."""


def run(name: str, tmp_path: Path) -> dict[str, Any]:
    """The outcome of `posttrain run` in an empty project with the shipped data."""
    spec = yaml.safe_load((PATHS / f"{name}.yaml").read_text(encoding="utf-8"))
    for section, changes in SMALLER[name].items():
        spec[section] = {**spec.get(section, {}), **changes}
    spec["resources"] = {"threads": 1}
    for folder in ("paths", "general"):
        shutil.copytree(DATA / folder, tmp_path / "data" / folder)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    done = Project(tmp_path, environment(tmp_path)).posttrain("run", "spec.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = (tmp_path / ".posttrain/reports").rglob("outcome.json")
    found: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8"))
    return found


def actions(outcome: dict[str, Any]) -> list[str]:
    return [decision["action"] for decision in outcome["decisions"]]


def test_every_shipped_path_is_walked_here() -> None:
    assert {path.stem for path in PATHS.glob("*.yaml")} == set(SMALLER)


def test_the_prompt_is_enough(tmp_path: Path) -> None:
    outcome = run("prompt_is_enough", tmp_path)
    assert actions(outcome) == ["use_prompt"]
    assert outcome["ending"] == "advice"


def test_worked_examples_are_enough(tmp_path: Path) -> None:
    outcome = run("few_shot", tmp_path)
    assert actions(outcome) == ["use_few_shot"]
    assert outcome["ending"] == "advice"


def test_more_data_is_to_be_collected(tmp_path: Path) -> None:
    outcome = run("collect_more_data", tmp_path)
    assert set(actions(outcome)) == {"collect_data"}
    decision = outcome["decisions"][-1]
    assert decision["rows"] > 0
    assert any("curve" in reason or "rows" in reason for reason in decision["reasons"])
    assert outcome["model_uri"] is None


@pytest.mark.timeout(900)
def test_sft_meets_the_target(tmp_path: Path) -> None:
    outcome = run("sft_passes", tmp_path)
    assert actions(outcome) == ["sft", "release"]
    assert outcome["ending"] == "promoted"


@pytest.mark.timeout(900)
def test_a_slice_lags_and_dpo_is_added(tmp_path: Path) -> None:
    outcome = run("sft_then_dpo", tmp_path)
    assert actions(outcome) == ["sft", "align"]
    assert outcome["decisions"][-1]["slices"] == ["colloquial"]
    assert "after-dpo" not in outcome["reused"]
    assert outcome["ending"] == "promoted"
