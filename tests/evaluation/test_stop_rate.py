"""What counts as stopping by itself, in every way of asking, and from outputs that were kept."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as arrow
import pytest
import torch
from pyarrow import parquet

from posttrain import gates
from posttrain.artifacts import DatasetRef, ModelRef, Workspace, file_digest
from posttrain.evaluation import generate
from posttrain.evaluation.decoding import Decoding
from posttrain.evaluation.generate import encode, written
from posttrain.evaluation.kept_outputs import FILE, KeptOutputs
from posttrain.evaluation.measure import measure
from posttrain.evaluation.metrics import KINDS, METRICS, names
from posttrain.evaluation.output import Output, output
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.scoring import Scoring
from posttrain.prompts import messages
from posttrain.spec.sections.evaluate import EvaluateSpec, SelfConsistencySpec
from posttrain.spec.sections.gates import Gate

SCHEMA = json.dumps({"type": "object", "properties": {"artist": {"enum": ["Sade", "Miles"]}}, "required": ["artist"]})


def test_every_kind_of_task_is_measured_by_it() -> None:
    assert all("stop_rate" in names(kind) for kind in KINDS)
    # One output of one, none of one, two draws of three: three of five.
    assert METRICS["stop_rate"].value([(1.0, 1.0), (0.0, 1.0), (2.0, 3.0)]) == pytest.approx(3 / 5)


def test_an_output_stopped_when_its_own_end_came_first(loaded: tuple[Any, Any]) -> None:
    tokenizer = loaded[1]
    play, line, end, pad = (tokenizer.encode("play", add_special_tokens=False)[0], 0, 1, 0)
    line = tokenizer.encode("\n", add_special_tokens=False)[0]
    text = tokenizer.decode([play])
    assert output(tokenizer, [play, end, pad, pad], [end]) == Output(text, True)
    assert output(tokenizer, [play, play], [end]) == Output(text * 2, False)
    assert output(tokenizer, [end], [end]) == Output("", True)
    # Cut by us at a blank line; what pads the row afterwards may look like an end.
    assert output(tokenizer, [play, line, line, end, end], [end], True) == Output(text, False)
    assert output(tokenizer, [line, line, play, end], [end], True) == Output(text, True)


def test_a_batch_tells_who_stopped(loaded: tuple[Any, Any]) -> None:
    """The model is made to end its first row after one token and the other never; longer prompts come first."""
    model, tokenizer = loaded
    steps = iter(range(9))
    letter = tokenizer.encode("p", add_special_tokens=False)[0]

    def force(module: Any, args: Any, logits: torch.Tensor) -> torch.Tensor:
        step, forced = next(steps), torch.full_like(logits, -100.0)
        forced[:, :, letter] = 0.0
        if step == 1:
            forced[0, :, 1] = 100.0
        return forced

    prompts = encode(512, tokenizer, [messages("", "play"), messages("", "play the last song")], 4)
    hook = model.lm_head.register_forward_hook(force)
    try:
        ((batch, found),) = list(written(model, tokenizer, prompts, Decoding(max_new_tokens=4), 4))
    finally:
        hook.remove()
    by_place = {prompt.place: each for prompt, each in zip(batch, found, strict=True)}
    assert by_place == {1: Output("p", True), 0: Output("pppp", False)}


@pytest.fixture
def rows(tmp_path: Path) -> DatasetRef:
    table = [
        {"id": str(i), "system": "To JSON.", "prompt": f"play Sade {i}", "completion": '{"artist": "Sade"}'}
        for i in range(3)
    ]
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.Table.from_pylist(table), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(table))


def measured(tiny: ModelRef, rows: DatasetRef, prompting: Any, **more: Any) -> Scores:
    spec = EvaluateSpec(**{"max_new_tokens": 40, "reasoning_tokens": 4, "resamples": 20, **more})
    done = measure(
        tiny,
        rows,
        split="validation",
        prompting=prompting,
        task=SimpleNamespace(kind="extraction"),
        spec=spec,
        workspace=Workspace(Path(rows.uri).parent / "work"),
        scoring=Scoring(kind="extraction", json_schema=SCHEMA),
    )
    return done.result


def table(scores: Scores) -> list[dict[str, Any]]:
    return parquet.read_table(scores.outputs.uri).to_pylist()


def test_constrained_outputs_stop_when_they_are_whole(tiny: ModelRef, rows: DatasetRef) -> None:
    held = measured(tiny, rows, "zero-shot", constrained="always")
    assert [row["stopped"] for row in table(held)] == [float(row["schema_valid"]) for row in table(held)]
    assert held.metrics["stop_rate"].value == held.metrics["schema_valid"].value > 0
    cut = measured(tiny, rows, "zero-shot", constrained="always", max_new_tokens=3)
    assert cut.metrics["stop_rate"].value == 0
    (check,) = gates.judge("release", [Gate(metric="stop_rate", at_least=0.9)], cut, {}).checks
    assert check.outcome == "refused"


def test_of_votes_every_draw_counts(tiny: ModelRef, rows: DatasetRef) -> None:
    votes = measured(
        tiny, rows, "self-consistency", constrained="always", self_consistency=SelfConsistencySpec(answers=3)
    )
    whole = [sum(draw.endswith("}") for draw in json.loads(row["draws"])) for row in table(votes)]
    assert [(row["stopped"], row["generated"]) for row in table(votes)] == [(float(each), 3.0) for each in whole]
    assert votes.metrics["stop_rate"].value == pytest.approx(sum(whole) / 9)


def test_random_weights_reason_on_and_on(tiny: ModelRef, rows: DatasetRef) -> None:
    scores = measured(tiny, rows, "step-by-step", max_new_tokens=4)
    assert scores.metrics["stop_rate"].value == 0
    assert [row["generated"] for row in table(scores)] == [1.0] * 3


def test_kept_outputs_know_whether_they_stopped(
    tiny: ModelRef, rows: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured(tiny, rows, "zero-shot", constrained="always")
    monkeypatch.setattr(generate, "_one_batch", None)
    again = measured(tiny, rows, "zero-shot", constrained="always", seed=1)
    assert again.metrics["stop_rate"].value == first.metrics["stop_rate"].value


def test_outputs_of_an_earlier_version_are_asked_for_again(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute("CREATE TABLE outputs (key BLOB PRIMARY KEY, output TEXT NOT NULL)")
    with KeptOutputs(tmp_path, {}) as kept:
        key = kept.key([{"role": "user", "content": "a"}])
        kept._connection.execute("INSERT INTO outputs (key, output) VALUES (?, 'old')", (key,))
        kept._connection.commit()
        assert kept.find([key]) == {}
        kept.add([key], [Output("new", True)])
    with KeptOutputs(tmp_path, {}) as kept:
        assert kept.find([key]) == {0: Output("new", True)}
