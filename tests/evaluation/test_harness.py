"""General ability: the task that ships with the project, really asked of the embedded tiny base."""

from __future__ import annotations

import random
import shutil
import socket
from pathlib import Path

import pytest

from posttrain.artifacts import DatasetRef, ModelRef, Workspace
from posttrain.errors import DataError
from posttrain.evaluation.harness import answered, harness_of
from posttrain.spec.sections.harness import HarnessSpec

pytest.importorskip("lm_eval", reason="posttrain[harness] is not installed")

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = "data/general/harness"


@pytest.fixture(scope="module")
def base() -> ModelRef:
    from posttrain.models.load import TINY

    return ModelRef(base=str(TINY), fingerprint="tiny-base")


def test_the_shipped_task_is_a_slice_with_a_value_for_each_row(base: ModelRef, tmp_path: Path) -> None:
    """Through the measuring stage; the base knows more than chance (a quarter), and gates can compare it."""
    from posttrain.evaluation.measure import measure
    from posttrain.evaluation.rows import write
    from posttrain.evaluation.scoring import Scoring
    from posttrain.gates import compare
    from posttrain.spec.sections.evaluate import EvaluateSpec
    from posttrain.spec.sections.task import TaskSpec

    row = {"id": "0", "system": "", "prompt": "Hello", "completion": "Hi"}
    rows: DatasetRef = write([row], tmp_path / "rows.parquet", tmp_path / "rows.parquet")
    harness = harness_of(HarnessSpec(tasks=["cloze"], include_path=FOLDER, limit=8), ROOT)
    state = random.getstate()
    scores = measure(
        base,
        rows,
        split="validation",
        prompting="zero-shot",
        task=TaskSpec(kind="verifiable"),
        spec=EvaluateSpec(max_new_tokens=4, resamples=200),
        workspace=Workspace(tmp_path),
        scoring=Scoring(kind="verifiable", harness=harness),
    ).result
    assert random.getstate() == state
    part = scores.slices["general_cloze"]
    assert part.rows == 8
    found = part.metrics["general_ability"]
    assert 0.4 <= found.value <= 1
    assert found.low <= found.value <= found.high
    gain = compare(part, part, "general_ability", resamples=100)
    assert gain is not None
    assert (gain.value, gain.rows) == (0, 8)


def test_nothing_leaves_the_machine(base: ModelRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with the hub allowed: `datasets` would tell of each data set that is loaded."""
    import datasets

    from posttrain.models.load import load_model, load_tokenizer

    asked: list[str] = []

    def refuse(host: str, *args: object, **kwargs: object) -> None:
        asked.append(host)
        raise OSError("no network in this test")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    harness = harness_of(HarnessSpec(tasks=["cloze"], include_path=FOLDER, limit=1), ROOT)
    assert len(answered(harness, load_model(base), load_tokenizer(base))["general_cloze"]) == 1
    assert not asked


def test_what_cannot_be_measured_is_told(base: ModelRef, tmp_path: Path) -> None:
    from posttrain.models.load import load_model, load_tokenizer

    with pytest.raises(DataError, match=r"nowhere holds no \.yaml of a task"):
        harness_of(HarnessSpec(tasks=["cloze"], include_path="nowhere"), ROOT)
    known = harness_of(HarnessSpec(tasks=["cloez"], include_path=FOLDER), ROOT)
    model, tokenizer = load_model(base), load_tokenizer(base)
    text = (ROOT / FOLDER / "cloze.yaml").read_text(encoding="utf-8").replace("metric: acc", "metric: wer")
    (tmp_path / "cloze.yaml").write_text(text, encoding="utf-8")
    shutil.copy(ROOT / FOLDER / "cloze.jsonl", tmp_path)
    foreign = harness_of(HarnessSpec(tasks=["cloze"], include_path=".", limit=1), tmp_path)
    with pytest.raises(DataError, match=r"the metric wer is none of .* would be code from the hub, which is not run"):
        answered(foreign, model, tokenizer)
    with pytest.raises(DataError, match=r"evaluate\.harness: cloez: lm-evaluation-harness said: .*cloez"):
        answered(known, model, tokenizer)


def test_another_file_or_another_limit_measures_anew(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("task: a\n", encoding="utf-8")
    spec = HarnessSpec(tasks=["a"], include_path=".")
    before = harness_of(spec, tmp_path)
    assert harness_of(spec, tmp_path) == before
    (tmp_path / "task.yaml").write_text("task: a\nversion: 2\n", encoding="utf-8")
    assert harness_of(spec, tmp_path) != before
