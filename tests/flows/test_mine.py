"""`posttrain mine` as a real flow on a real MLflow store: bad cases reach the store once, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness
from registered import empty_store_in

from flows.feedback import mine
from posttrain.feedback import Answer, watermark
from posttrain.feedback.held_back import TAG
from posttrain.feedback.place import open_store
from posttrain.preflight import check
from posttrain.registry.find import open_store as registry_store
from posttrain.tracking.traces import ServedRequest, log_feedback, log_request
from tasks import mine as task_module
from tasks.bad_cases import regression_suite
from tasks.start import start

SPEC = """\
name: tickets
task: {kind: text}
data: {train: data/train.jsonl, test: data/test.jsonl}
bad_cases: {model: lexical, held_back: 0.5}
"""


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return empty_store_in(tmp_path_factory.mktemp("store"))


@pytest.fixture
def spec(empty_store: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("POSTTRAIN_FEEDBACK_URL", raising=False)
    Path("data").mkdir()
    rows = [{"prompt": f"say {place}", "completion": str(place)} for place in range(20)]
    for name, some in (("train", rows[5:]), ("test", rows[:5])):
        Path(f"data/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    Path("mlruns").mkdir()
    Path("mlruns/mlflow.db").write_bytes(empty_store)
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    registry_store(tmp_path)
    return path


def serve(name: str, prompt: str, **more: object) -> None:
    turns = ({"role": "user", "content": prompt},)
    served = ServedRequest(name, datetime.now(UTC), "tickets", "1", turns, "an answer", "stop", 0.1)
    log_request(replace(served, **more))  # type: ignore[arg-type]


def test_bad_cases_reach_the_store_once_and_late_thumbs_are_noticed(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("a", "where is my parcel", thumb="down")
    serve("b", "cancel the order")
    serve("c", "how do I pay", finish_reason="length")
    # A kill between the store and the watermark: the cases are there, and nothing says so.
    with monkeypatch.context() as patch:
        patch.setattr(task_module.watermark, "write", _killed)
        with pytest.raises(KeyboardInterrupt):
            mine(str(spec))
    checked = check(spec)
    store = open_store(checked.loaded.spec, checked.workspace)
    assert [item.prompt for item in store.items(tag=TAG)] == ["where is my parcel", "how do I pay"]
    assert mine(str(spec)).queued == 0
    assert mine(str(spec)).in_words == "no new requests"
    log_feedback("b", "down", None)
    found = mine(str(spec))
    assert (found.requests, found.queued) == (1, 1)
    (item,) = store.items(tag=TAG)[2:]
    assert (item.prompt, item.reasons, item.outputs[0].text) == ("cancel the order", ("thumbs down",), "an answer")
    assert item.outputs[0].source == "tickets version 1"
    assert watermark.read(Path(".posttrain/feedback/mined-tickets.json")).seen.keys() == {"a", "b", "c"}
    store.close()


def test_what_does_not_fit_waits_for_the_next_time(spec: Path) -> None:
    spec.write_text(SPEC.replace("{model", "{per_run: 2, model"), encoding="utf-8")
    for name, prompt in (("a", "where is my parcel"), ("b", "cancel the order"), ("c", "how do I pay")):
        serve(name, prompt, thumb="down")
    first, second, third = (mine(str(spec)) for _ in range(3))
    assert [(each.queued, each.left_out) for each in (first, second, third)] == [(2, 1), (1, 0), (0, 0)]


def test_what_is_held_back_is_tested_on_and_never_trained_on(spec: Path) -> None:
    prompts = [
        f"question {place} about {word}" for place, word in enumerate(["parcels", "orders", "bills", "refunds"] * 3)
    ]
    checked = check(spec)
    with start(str(spec)) as run:
        assert regression_suite(run) is None
    for place, prompt in enumerate(prompts):
        serve(f"r{place}", prompt, thumb="down")
    mine(str(spec))
    store = open_store(checked.loaded.spec, checked.workspace)
    items = store.items(tag=TAG)
    assert len(items) == len(prompts)
    store.answer_all([Answer(item.id, "ann", "correction", text=f"right: {item.prompt}") for item in items])
    store.close()
    with start(str(spec)) as run:
        suite = regression_suite(run)
        sources = [run.root / source.path for source in run.spec.data.train]
    assert suite is not None
    learnt = [json.loads(line)["prompt"] for path in sources[1:] for line in path.read_text().splitlines()]
    assert 0 < suite.rows < len(prompts)
    assert len(learnt) + suite.rows == len(prompts)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
