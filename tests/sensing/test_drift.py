"""Drift on vectors whose distance is known, and on real prompts of two kinds."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA

from posttrain import spec as specs
from posttrain.artifacts import Workspace
from posttrain.data.embedding.embed import unit
from posttrain.errors import DataError
from posttrain.sensing import Drift, measure_drift
from posttrain.sensing.requests import acted_on, check_requests, read_requests
from posttrain.spec import LoadedSpec
from posttrain.spec.sections.data import Source


def test_the_distance_of_two_points_each_twice() -> None:
    """Prompts twice (1, 0), requests twice (0, 1): squared distances are 0 inside and 2 across, the median of
    (0, 0, 2, 2, 2, 2) is 2, so the kernel is 1 inside and 1/e across: MMD² = 1 + 1 - 2/e."""
    found = measure_drift(np.array([[1.0, 0], [1, 0]]), np.array([[0, 1.0], [0, 1]]), permutations=20)
    assert found.distance == pytest.approx(2 - 2 / np.e)
    assert found.unlike == 1


def test_samples_of_one_kind_give_p_values_of_any_size() -> None:
    chance = np.random.default_rng(1)
    found = [
        measure_drift(*np.split(unit(chance.normal(size=(80, 8))), 2), permutations=100, seed=seed).p_value
        for seed in range(40)
    ]
    assert 0.3 < np.mean(found) < 0.7
    assert np.mean(np.array(found) <= 0.05) <= 0.15


def test_a_shifted_sample_is_found() -> None:
    chance = np.random.default_rng(2)
    prompts, requests = chance.normal(size=(60, 8)), chance.normal(size=(60, 8)) + 1
    assert measure_drift(unit(prompts), unit(requests)).p_value < 0.01


@pytest.fixture
def project(tmp_path: Path) -> LoadedSpec:
    """Some SNIPS commands to train on; drift is looked for with the embedder that counts words."""
    (tmp_path / "data").mkdir()
    commands = _prompts("voice_assistant/train.jsonl.gz")[::20]
    rows = [{"prompt": prompt, "completion": "{}"} for prompt in commands]
    for name, part in (("train", rows[:500]), ("test", rows[500:520])):
        (tmp_path / f"data/{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in part), encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(
        "name: voice\ntask: {kind: text}\ndata: {train: data/train.jsonl, test: data/test.jsonl}\n"
        "triggers: {drift: {requests: served/requests.jsonl, at_least: 50, sample: 120, model: lexical}}\n",
        encoding="utf-8",
    )
    return specs.load(tmp_path / "spec.yaml", tmp_path)


def _prompts(name: str) -> list[str]:
    with gzip.open(DATA / name, "rt", encoding="utf-8", errors="replace") as file:
        found = [json.loads(line) for line in file]
    return ["".join(part["text"] for part in row["data"]) if "data" in row else row["instruction"] for row in found]


def _served(loaded: LoadedSpec, prompts: list[str]) -> None:
    path = loaded.root / "served/requests.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{json.dumps({'prompt': prompt})}\n" for prompt in prompts), encoding="utf-8")


def _checked(loaded: LoadedSpec, seen: str = "") -> tuple[Drift | str, str, np.ndarray | None]:
    spec = loaded.spec.triggers.drift
    assert spec is not None
    return check_requests(loaded, Workspace(loaded.root / ".posttrain"), spec, seen)


def test_requests_of_the_same_kind_are_no_drift_and_other_ones_are(project: LoadedSpec) -> None:
    assert _checked(project)[0] == "no requests yet at served/requests.jsonl"
    commands = _prompts("voice_assistant/train.jsonl.gz")[7::20]
    random.Random(0).shuffle(commands)  # the file has one intent after the other
    _served(project, commands[:40])
    assert _checked(project)[0] == "40 requests, of 50 that a test of drift needs"
    _served(project, commands)
    alike, seen, _ = _checked(project)
    assert isinstance(alike, Drift)
    assert alike.p_value > 0.01 or alike.unlike < 0.15, alike
    assert _checked(project, seen)[0] == "the requests are as they were"
    _served(project, _prompts("general/train.jsonl.gz")[:120])
    other, _, vectors = _checked(project, seen)
    assert isinstance(other, Drift)
    assert other.p_value < 0.01, other
    assert other.unlike > 0.15, other
    assert vectors is not None
    acted_on(Workspace(project.root / ".posttrain"), "voice", vectors)
    _served(project, _prompts("general/train.jsonl.gz")[100:220])  # more of what a run was started for
    again = _checked(project, seen)[0]
    assert isinstance(again, str), again
    assert again.startswith("requests are like those that the last run was started for")


def test_conversations_are_read_by_the_user_s_last_turn(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "?"}, {"role": "user", "content": "b"}]
    (tmp_path / "log.jsonl").write_text(
        json.dumps({"messages": turns}) + '\n{"prompt": "c"}\n{"prompt": "d"}\n', encoding="utf-8"
    )
    assert read_requests(Source(path="log.jsonl"), tmp_path, 2) == ["c", "d"]
    assert read_requests(Source(path="log.jsonl"), tmp_path, 9) == ["b", "c", "d"]
    (tmp_path / "log.jsonl").write_text('{"query": "c"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="to the column of the prompt"):
        read_requests(Source(path="log.jsonl"), tmp_path, 2)
    assert read_requests(Source(path="log.jsonl", prompt="query"), tmp_path, 2) == ["c"]
