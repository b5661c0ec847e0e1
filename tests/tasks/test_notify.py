"""Notifications through Prefect's own blocks to a real listener, from flows that end each their way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness
from registered import BETTER, NAME, WORSE, empty_store_in, make_versions, scored, verdict

from posttrain import registry
from posttrain.errors import DataError
from posttrain.outcome import Outcome
from posttrain.strategy import Decision
from tasks.notify import notify, tell_failure
from tasks.run import Run
from tasks.start import start

SECRET = "hunter2-token"
SPEC = """\
name: tickets
task: {kind: text}
data: {train: data/rows.jsonl, test: data/test.jsonl}
"""


@pytest.fixture(scope="module")
def received() -> Iterator[list[dict[str, Any]]]:
    """What a listener on this machine was sent; two blocks are saved in a Prefect server that send there."""
    got: list[dict[str, Any]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append({"path": self.path, "key": self.headers.get("X-Key"), **json.loads(body)})
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *given: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"127.0.0.1:{server.server_address[1]}"
    with prefect_test_harness(server_startup_timeout=180):
        json_data = {"text": "{{subject}}\n{{body}}"}
        headers = {"X-Key": "{{key}}"}
        for name, path in (("ops", "/ops"), ("broken", "/broken")):
            CustomWebhookNotificationBlock(
                name=name, url=f"http://{here}{path}", json_data=json_data, headers=headers, secrets={"key": SECRET}
            ).save(name)
        SlackWebhook(url=f"json://{here}/team").save("team")  # of the kinds of address that Apprise sends to
        yield got
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return empty_store_in(tmp_path_factory.mktemp("store"))


@pytest.fixture
def spec(tmp_path: Path, empty_store: bytes, monkeypatch: pytest.MonkeyPatch, received: list[dict[str, Any]]) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("mlruns").mkdir()
    Path("mlruns/mlflow.db").write_bytes(empty_store)
    Path("data").mkdir()
    rows = [json.dumps({"prompt": f"say {place}", "completion": str(place)}) for place in range(40)]
    for name in ("rows", "test"):
        Path(f"data/{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    received.clear()
    return tmp_path / "spec.yaml"


def outcome_of(run: Run, tmp_path: Path, right: int) -> Outcome:
    """The end of a run whose candidate was judged by `registry.promote` against a champion right on 20 of 40."""
    passed = right > 20
    judged = BETTER if passed else WORSE
    make_versions(2, run.mlflow_run_id, NAME)
    registry.promote(NAME, "1", verdict(passed=True), against=None)
    promotion = registry.promote(NAME, "2", judged, against="1")
    return Outcome(
        name=NAME,
        ending="promoted" if promotion.alias == "champion" else "challenger",
        headline=f"{NAME} version 2 is {promotion.alias}: {promotion.reasons[0]}",
        decisions=(Decision(step="after_sft", action="release", reasons=("so",), evidence={}),),
        verdicts=(judged,),
        scores=(scored(tmp_path, "candidate", [1] * right + [0] * (40 - right)),),
        stage_seconds={},
        reused=(),
        mlflow_uri=run.tracking_uri,
        mlflow_run_id=run.mlflow_run_id,
        report=str(tmp_path / "reports/index.html"),
        data_docs=str(tmp_path / "docs/index.html"),
        model_uri=f"models:/{NAME}/2",
        alias=promotion.alias,
    )


def ended(spec: Path, right: int) -> Outcome:
    @flow(name="retrain")
    def ends(spec_path: str) -> Outcome:
        with start(spec_path) as run:
            return notify(run, outcome_of(run, spec.parent, right))

    return ends(str(spec))


def test_a_promotion_is_told_with_its_verdicts_and_where_to_look(spec: Path, received: list[dict[str, Any]]) -> None:
    spec.write_text(SPEC + "notify: {blocks: [custom-webhook/ops, slack-webhook/team]}\n", encoding="utf-8")
    outcome = ended(spec, 32)
    assert outcome.ending == "promoted"
    ops, team = received
    assert (ops["path"], ops["key"]) == ("/ops", SECRET)
    assert ops["text"].startswith(f"{NAME}: a new champion\n{NAME}: {NAME} version 2 is champion: ")
    assert "The gate release passed: slot_f1 0.500 [0.400, 0.600], above champion (gain +0.100)." in ops["text"]
    for link in (outcome.report, outcome.mlflow_run_id, outcome.data_docs):
        assert link in ops["text"]
    assert "Prefect run: http://127.0.0.1" not in ops["text"], "this server has no pages"
    assert (team["path"], team["title"]) == ("/team", f"{NAME}: a new champion")
    assert team["message"] == ops["text"].split("\n", 1)[1]


def test_a_refused_gate_is_told_although_a_challenger_was_registered(
    spec: Path, received: list[dict[str, Any]]
) -> None:
    spec.write_text(SPEC + "notify: {blocks: [custom-webhook/ops]}\n", encoding="utf-8")
    assert ended(spec, 10).ending == "challenger"
    (ops,) = received
    assert "The gate release refused: slot_f1 0.500 [0.400, 0.600], above champion (gain -0.100)." in ops["text"]


def test_nobody_is_told_of_what_nobody_asked_for(spec: Path, received: list[dict[str, Any]]) -> None:
    spec.write_text(SPEC + "notify: {blocks: [custom-webhook/ops], ends: [failed]}\n", encoding="utf-8")
    ended(spec, 32)
    assert received == []


def test_a_failure_is_told_without_its_secrets(spec: Path, received: list[dict[str, Any]]) -> None:
    spec.write_text(SPEC + "notify: {blocks: [custom-webhook/ops]}\n", encoding="utf-8")

    @flow(name="retrain", on_failure=[tell_failure], on_crashed=[tell_failure])
    def fails(spec_path: str) -> None:
        raise DataError("https://me:secret@host/rows.jsonl: cannot be reached, token=abc123def; copy the file")

    with pytest.raises(DataError):
        fails(str(spec))
    (ops,) = received
    assert "the run failed" in ops["text"]
    assert "https://***@host/rows.jsonl: cannot be reached, token=***; copy the file" in ops["text"]


def test_what_cannot_be_told_is_one_line_in_the_log_and_no_failure(spec: Path, received: list[dict[str, Any]]) -> None:
    blocks = "[custom-webhook/broken, custom-webhook/absent, custom-webhook/ops]"
    spec.write_text(SPEC + f"notify: {{blocks: {blocks}}}\n", encoding="utf-8")
    assert ended(spec, 32).ending == "promoted"
    assert [got["path"] for got in received] == ["/broken", "/ops"]
    with get_client(sync_client=True) as client:
        told = [one for one in client.read_artifacts() if one.key == "notify"]
        last = max(told, key=lambda one: one.created or 0)
        run = max(client.read_flow_runs(), key=lambda each: each.created or 0)
    assert run.state is not None
    assert run.state.is_completed()
    assert "- custom-webhook/broken: not told (" in str(last.data)
    assert "- custom-webhook/absent: not told (" in str(last.data)
    assert "- custom-webhook/ops: told" in str(last.data)
    assert SECRET not in str(last.data)


def test_a_secret_address_in_place_of_a_block_is_refused_and_not_shown(spec: Path) -> None:
    from posttrain import spec as specs
    from posttrain.errors import SpecError

    spec.write_text(SPEC + "notify: {blocks: [https://hooks.slack.com/services/T0/B0/XYZ]}\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        specs.load(spec)
    assert "names no Prefect block" in str(caught.value)
    assert "XYZ" not in str(caught.value)
