"""`posttrain serve` with real versions of the embedded base: as evaluated, through promotions and back, to its end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import mlflow
import psutil
import pytest
from fronts import NAME, Front, register_all, start

from posttrain import registry
from posttrain.tracking.traces import recent_requests

pytestmark = pytest.mark.servers
PROMPTS = ["book a table for two", "play some jazz", "what is the weather in oslo"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with three versions in its store: two that work, the first of them champion, and one that does not."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.chdir(folder)
        register_all(folder)
        yield folder


@pytest.fixture(scope="module")
def front(store: Path) -> Iterator[Front]:
    served = start(store, f"{NAME}@champion")
    yield served
    served.process.kill()
    served.process.wait()


class Hammer:
    """Clients that ask without a pause; every other answer is streamed."""

    def __init__(self, front: Front) -> None:
        self.front, self.faults, self.versions = front, list[str](), list[str]()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with httpx.Client(base_url=self.front.url, timeout=120) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                body = {"messages": [{"role": "user", "content": f"table {number}"}], "stream": number % 2 == 0}
                reply = client.post("/v1/chat/completions", json=body)
                whole = "[DONE]" in reply.text if body["stream"] else "choices" in reply.text
                if reply.status_code != 200 or not whole:
                    self.faults.append(f"{reply.status_code} {reply.text[:300]}")
                self.versions.append(reply.headers.get("x-posttrain-version", ""))

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_answers_are_those_of_the_registered_model(front: Front) -> None:
    """Whole, streamed and as a completion: what `mlflow.pyfunc` predicts."""
    wanted = mlflow.pyfunc.load_model(f"models:/{NAME}@champion").predict(PROMPTS)
    replies = [front.chat(prompt, model=NAME) for prompt in PROMPTS]
    assert [reply.json()["choices"][0]["message"]["content"] for reply in replies] == wanted
    assert {reply.headers["x-posttrain-version"] for reply in replies} == {"1"}
    assert {reply.json()["choices"][0]["finish_reason"] for reply in replies} == {"stop"}
    events = front.chat(PROMPTS[0], stream=True).text.split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == wanted[0]
    assert len(chunks) > 2
    assert events[-2] == "data: [DONE]"
    assert front.post("/v1/completions", prompt=PROMPTS[1]).json()["choices"][0]["text"] == wanted[1]
    short = front.chat(PROMPTS[0], max_tokens=2).json()["choices"][0]
    assert short["finish_reason"] == "length"
    assert wanted[0].startswith(short["message"]["content"])
    assert front.get("/v1/models")["data"][0]["id"] == NAME


def test_wrong_requests_are_refused_as_openai_refuses_them(front: Front) -> None:
    missing = front.post("/v1/chat/completions", messages=[])
    assert missing.status_code == 400
    assert "messages" in missing.json()["error"]["message"]
    assert front.chat("x", model="other").status_code == 404
    assert front.post("/v1/feedback", id="x").status_code == 400


def test_requests_become_traces_with_their_feedback(front: Front) -> None:
    name = front.chat("mail maria.lopez@gmail.com").json()["id"]
    assert front.post("/v1/feedback", id=name, thumb="down", correction="{}").status_code == 202
    deadline = time.monotonic() + 120
    while not (found := [each for each in recent_requests(NAME, None) if each.id == name and each.correction]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert found[0].messages == ({"role": "user", "content": "mail [e-mail address]"},)
    assert (found[0].version, found[0].thumb, found[0].finish_reason) == ("1", "down", "stop")
    assert found[0].id not in {each.id for each in recent_requests(NAME, found[0].at + timedelta(seconds=1))}


def test_no_request_is_lost_while_the_champion_changes(front: Front) -> None:
    """A promotion, a rollback, and a promotion of a version that fails its canary, under load all the time."""
    hammer = Hammer(front)
    try:
        registry.promote_by_hand(NAME, "2", "test", "better")
        front.until("version", "2")
        registry.roll_back(NAME, "test", "worse")
        front.until("version", "1")
        registry.promote_by_hand(NAME, "3", "test", "hasty")
        deadline = time.monotonic() + 240
        while not (told := front.get("/health"))["refused"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        hammer.end()
    assert hammer.faults == []
    assert [version for version in ("1", "2") if version in hammer.versions] == ["1", "2"]
    assert hammer.versions[-1] == "1"
    assert (told["status"], told["version"]) == ("ok", "1")
    assert "does not end by itself" in told["refused"]["3"]
    registry.roll_back(NAME, "test", "it does not serve")


def test_a_killed_backend_is_started_again_and_a_killed_front_leaves_none(front: Front) -> None:
    def servers() -> list[psutil.Process]:
        return [each for each in front.family() if "serve" in each.cmdline() and "transformers" in each.cmdline()[1]]

    (server,) = servers()
    server.kill()
    deadline = time.monotonic() + 240
    while front.get("/health")["status"] != "ok" or not servers() or servers()[0].pid == server.pid:
        assert time.monotonic() < deadline, front.log.read_text()
        time.sleep(0.2)
    assert front.chat(PROMPTS[0]).status_code == 200
    family = front.family()
    assert len(family) >= 2
    os.kill(front.process.pid, signal.SIGKILL)
    front.process.wait()
    _gone, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
