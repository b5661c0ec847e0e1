"""The regression suite in a release: candidate and champion are asked what people corrected; gates may ask for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.testing.utilities import prefect_test_harness
from registered import empty_store_in, scored

from posttrain import registry
from posttrain.artifacts import Done, ModelRef
from posttrain.evaluation.measure import measure
from posttrain.evaluation.rows import write
from posttrain.evaluation.scores import Scores
from posttrain.feedback import Answer, Item, Output
from posttrain.feedback.held_back import TAG
from posttrain.feedback.place import open_store
from posttrain.gates import Verdict
from posttrain.registry import Champion, Incumbent
from tasks import bad_cases
from tasks.bad_cases import with_bad_cases
from tasks.gate import judge
from tasks.run import Run
from tasks.start import start

SPEC = """\
name: tickets
task: {kind: text}
data: {train: data/train.jsonl, test: data/test.jsonl}
evaluate: {max_new_tokens: 4, resamples: 100}
bad_cases: {held_back: 1.0}
gates: {release: [{metric: exact_match, slice: bad_cases, at_least: 0.4, above: champion}]}
"""
PROMPTS = ["where is my parcel", "cancel the order", "how do I pay", "who are you"]


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("POSTTRAIN_FEEDBACK_URL", raising=False)
    monkeypatch.setattr(bad_cases, "in_own_process", None)  # measured here: a process more costs seconds
    Path("mlruns").mkdir()
    empty_store_in(tmp_path / "mlruns")
    Path("data").mkdir()
    rows = [{"prompt": f"say {place}", "completion": str(place)} for place in range(20)]
    for name, some in (("train", rows[5:]), ("test", rows[:5])):
        Path(f"data/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def release(spec: Path, tmp_path: Path, rival: ModelRef | None = None) -> tuple[Run, Scores, Verdict]:
    """The part of a release that reads the suite; the candidate is the base model, the champion another, if any."""
    ended: list[tuple[Run, Scores, Verdict]] = []

    @flow
    def part() -> None:
        with start(str(spec)) as run:
            scores = scored(tmp_path, "candidate", [1, 0, 1, 0]).model_copy(update={"model": run.base})
            run.stages["test"] = Done("measure-test", scores, tmp_path, "f" * 16, False, 1.0)
            champion = Incumbent()
            if rival is not None:
                champion = Incumbent(version="1", scores=scored(tmp_path, "champion", [0, 0, 1, 0]))
            tested, champion = with_bad_cases(run, scores, champion)
            ended.append((run, tested, judge(run, "release", tested, champion=champion.scores)))

    part()
    return ended[0]


def corrected(run: Run, answers: dict[str, str]) -> None:
    store = open_store(run.spec, run.workspace)
    items = [Item.new("correction", prompt, outputs=[Output("bad", "v1")], tag=TAG) for prompt in answers]
    store.add(items)
    store.answer_all([Answer(item.id, "ann", "correction", text=answers[item.prompt]) for item in items])
    store.close()


def said(run: Run, tmp_path: Path) -> dict[str, str]:
    """What the base model says to the prompts."""
    from pyarrow import parquet

    rows = [{"id": str(place), "prompt": each, "completion": "?", "system": ""} for place, each in enumerate(PROMPTS)]
    ref = write(rows, tmp_path / "rows.parquet", tmp_path / "rows.parquet")
    spec = run.spec
    done = measure(
        run.base,
        ref,
        split="any",
        prompting="zero-shot",
        task=spec.task,
        spec=spec.evaluate,
        workspace=run.workspace,
    )
    table = parquet.read_table(done.result.outputs.uri).to_pydict()
    return dict(zip(table["prompt"], table["output"], strict=True))


def test_without_corrected_cases_nothing_is_asked_and_the_demand_waits(spec: Path, tmp_path: Path) -> None:
    run, tested, verdict = release(spec, tmp_path)
    assert tested.slices == {}
    assert run.bad_cases == ""
    assert verdict.outcome == "passed"
    assert verdict.checks == ()


def test_candidate_and_champion_are_asked_the_same_and_the_gate_compares_them(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(str(spec)) as run:
        own = said(run, tmp_path)
        corrected(run, {prompt: own[prompt].strip() if place < 2 else "never" for place, prompt in enumerate(PROMPTS)})
        base = run.base
    rival = other_model(base, tmp_path / "rival")
    serving = Champion(name="tickets", version="1", model=rival, scores=None, run_id="")
    monkeypatch.setattr(registry, "champion", lambda name: serving)
    run, tested, verdict = release(spec, tmp_path, rival)
    part = tested.slices["bad_cases"]
    assert part.rows == 4
    assert part.metrics["exact_match"].value == 0.5
    assert run.bad_cases.startswith("fixed 2 of 4, still failing 2; the champion has 0 of them right")
    assert run.stages["test"].result == tested
    assert [check.outcome for check in verdict.checks] == ["passed", "passed"]
    assert verdict.checks[1].gain == pytest.approx(0.5)


def other_model(base: ModelRef, folder: Path) -> ModelRef:
    """The same architecture with other weights, which says something else."""
    import torch

    from posttrain.models.load import load_model, load_tokenizer

    model = load_model(base, device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    model.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    return ModelRef(base=str(folder), fingerprint="rival")
