"""Release as a real flow: a champion that changes meanwhile, and a person who is asked, answers, or does not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from adapters import with_adapter
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flow_runs import resume_flow_run
from prefect.testing.utilities import prefect_test_harness
from registered import BETTER, WORSE, aliases, empty_store_in, make_versions, scored, tags, verdict

import flows.release
from posttrain import registry, tracking
from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.data.curate import CurateResult
from posttrain.evaluation.scores import Scores
from posttrain.gates import Verdict
from posttrain.registry import Incumbent, Promotion, Registered
from posttrain.registry.kept import keep_scores
from posttrain.strategy import Decision
from tasks import approve
from tasks.approve import ask_approval
from tasks.baseline import Baseline
from tasks.candidate import Candidate
from tasks.gate import judge
from tasks.promote import promote
from tasks.run import Run
from tasks.start import start

# peft's own, about transformers' next major version.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

NAME = "tickets"
SPEC = """\
name: tickets
task: {kind: text}
data: {train: data/train.jsonl, test: data/test.jsonl}
gates: {release: [{metric: exact_match, above: champion}]}
"""


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MLflow store without anything in it."""
    return empty_store_in(tmp_path_factory.mktemp("store"))


@pytest.fixture
def spec(empty_store: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec in the present folder; the approving ones look for an answer often."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(approve, "POLL_SECONDS", 0.1)
    Path("data").mkdir()
    rows = [{"prompt": f"say {place}", "completion": str(place)} for place in range(40)]
    for name in ("train", "test"):
        Path(f"data/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Path("mlruns").mkdir()
    Path("mlruns/mlflow.db").write_bytes(empty_store)
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def rival(run: Run, scores: Scores, against: str | None) -> None:
    """Another run's model becomes champion."""
    run_id, client = run.mlflow_run_id, tracking.client()  # in this order: the first opens the store
    if against is None:
        client.create_registered_model(NAME)
    made = client.create_model_version(NAME, "file:///nowhere", run_id=run_id)
    keep_scores(NAME, str(made.version), run_id, scores, None)  # type: ignore[arg-type]
    judged = verdict(passed=True) if against is None else BETTER
    assert registry.promote(NAME, str(made.version), judged, against=against).alias == "champion"


@pytest.mark.parametrize(("right", "alias"), [(32, "champion"), (20, "challenger")])
def test_a_champion_that_changed_meanwhile_is_what_the_candidate_must_beat(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: int, alias: str
) -> None:
    """Right on 32 or 20 of 40 rows, against 10 at first and 25 after another run was faster.

    Seven rows gained and none lost: p = 2 / 2**7 = 0.016, no luck."""
    found: list[tuple[Registered, Promotion]] = []
    seen: list[str] = []

    def judged_while_another_is_promoted(run: Run, name: str, scores: Scores, **others: Scores | None) -> Verdict:
        made = judge(run, name, scores, **others)
        seen.append(made.outcome)
        if len(seen) == 1:
            rival(run, scored(tmp_path, "faster", [1] * 25 + [0] * 15), "1")
        return made

    @flow
    def release() -> None:
        with start(str(spec)) as run:
            scores = scored(tmp_path, "candidate", [1] * right + [0] * (40 - right))
            trained = with_adapter(run.base.base, tmp_path / "adapter")

            def tested(run: Run, model: ModelRef, *given: Any) -> Scores:
                assert model.adapter is None, "the files that are tested are those that are registered"
                return scores.model_copy(update={"model": model})

            rival(run, scored(tmp_path, "first", [1] * 10 + [0] * 30), None)
            monkeypatch.setattr(flows.release, "evaluate", tested)
            monkeypatch.setattr(flows.release, "judge", judged_while_another_is_promoted)
            monkeypatch.setattr(flows.release, "conclude", lambda *given: found.append(given[5:7]))
            decision = Decision(step="after_sft", action="release", reasons=("so",), evidence={})
            candidate = Candidate(model=trained, scores=scores, verdict=verdict(passed=True), decision=decision)
            ref = DatasetRef(uri="/w/rows.parquet", fingerprint="f" * 16, rows=40)
            rows = CurateResult.model_construct(train=ref, validation=ref, test=ref)
            baseline = Baseline.model_construct(kind="text", zero_shot=scores, few_shot=scores)
            flows.release.release_model(run, candidate, baseline, rows)

    release()
    ((version, promotion),) = found
    assert seen == ["passed", "passed" if alias == "champion" else "refused"]
    assert (version.version, promotion.alias, promotion.stale, promotion.previous) == ("3", alias, False, "2")
    assert aliases(NAME)["champion"] == ("3" if alias == "champion" else "2")
    assert tags("3", NAME)["gate.release"] == seen[-1]
    assert tags("3", NAME)["posttrain.adapter"] == str(tmp_path / "adapter")
    description = tracking.client().get_model_version(NAME, "3").description
    assert description.startswith("tickets version 3: tiny after no training on 40 rows")


def asked(spec: Path, hours: float, judged: Verdict = BETTER, page: str = "http://here") -> Promotion:
    """The promotion of version 2 by a flow whose spec asks a person."""
    spec.write_text(SPEC + f"register: {{approval: {{timeout_hours: {hours}}}}}\n", encoding="utf-8")

    @flow(name="asks")
    def release() -> Promotion:
        with start(str(spec)) as run:
            make_versions(2, run.mlflow_run_id, NAME)
            registry.promote(NAME, "1", verdict(passed=True), against=None)
            version = Registered(name=NAME, version="2", uri="", model_id="", reused=False)
            champion = Incumbent(version="1")
            approval = ask_approval(run, version, judged, champion)
            return promote(run, version, judged, champion, approval)

    with pytest.MonkeyPatch.context() as patch:
        if page:
            patch.setattr(approve, "_page", lambda: page)
        return release()


def answering(given: dict[str, Any], forms: list[str]) -> Callable[[], None]:
    """Waits for the pause and its form, notes the form's text and fills it in, as the Prefect UI does.

    Prefect pauses the run first and writes the form afterwards: between the two there is nothing to answer."""

    def answer() -> None:
        with get_client(sync_client=True) as client:
            for _ in range(600):
                for paused in [run for run in client.read_flow_runs() if run.state and run.state.is_paused()]:
                    keys = paused.state.state_details.run_input_keyset  # type: ignore[union-attr]
                    with suppress(ObjectNotFound, PrefectHTTPStatusError):
                        forms.append(client._client.get(f"/flow_runs/{paused.id}/input/{keys['description']}").text)
                        resume_flow_run(paused.id, run_input=given)
                        return
                time.sleep(0.1)

    return answer


@pytest.mark.parametrize("approved", [True, False])
def test_a_person_is_asked_and_heard(spec: Path, approved: bool) -> None:
    forms: list[str] = []
    person = threading.Thread(target=answering({"approve": approved, "by": "ann", "comment": "I looked\nat it"}, forms))
    person.start()
    promotion = asked(spec, 1)
    person.join()
    assert promotion.alias == ("champion" if approved else "challenger")
    assert promotion.reasons[0] == f"{'approved' if approved else 'refused'} by ann: I looked at it"
    assert tags("2", NAME)["posttrain.approval"] == ("approved" if approved else "refused")
    assert tags("2", NAME)["posttrain.approval_by"] == "ann"
    assert "version 2 as champion, instead of version 1?" in forms[0]
    assert "| slot_f1 | passed | 0.500 | +0.100 [+0.050, +0.150] | 0.001 |  | above champion |" in forms[0]


def test_without_an_answer_the_run_completes_and_the_version_stays_challenger(spec: Path) -> None:
    promotion = asked(spec, 0.0002)
    assert (promotion.alias, promotion.reasons[0]) == ("challenger", "nobody answered within 0.0002 h")
    assert tags("2", NAME)["posttrain.approval"] == "no answer"
    with get_client(sync_client=True) as client:
        last = max(client.read_flow_runs(), key=lambda run: run.created or 0)
        assert last.state is not None
        assert last.state.is_completed()


def test_nobody_is_asked_for_nothing(spec: Path) -> None:
    """A refused version, and a server that has no page to ask on: the run does not wait."""
    assert asked(spec, 1, WORSE).reasons == ("slot_f1 0.500 against champion",)
    assert "posttrain.approval" not in tags("2", NAME)


def test_a_server_without_pages_cannot_ask(spec: Path) -> None:
    promotion = asked(spec, 1, page="")
    assert promotion.alias == "challenger"
    assert promotion.reasons[0].startswith("nobody could be asked: this run has no Prefect server with pages; ")
    assert "`posttrain models promote tickets 2` promotes it" in promotion.reasons[0]
