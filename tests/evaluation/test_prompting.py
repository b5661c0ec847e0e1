"""The measuring stage by every way of prompting, on a real model with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from posttrain.artifacts import DatasetRef, ModelRef, Workspace, file_digest
from posttrain.evaluation import generate
from posttrain.evaluation.measure import measure
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.scoring import Scoring
from posttrain.evaluation.step_by_step import final
from posttrain.evaluation.vote import winner
from posttrain.spec.sections.evaluate import ConsistencySpec, EvaluateSpec, SelfConsistencySpec

SCHEMA = json.dumps({"type": "object", "properties": {"artist": {"enum": ["Sade", "Miles"]}}, "required": ["artist"]})


@pytest.fixture
def rows(tmp_path: Path) -> DatasetRef:
    table = [
        {"id": str(i), "system": "To JSON.", "prompt": f"play Sade {i}", "completion": '{"artist": "Sade"}'}
        for i in range(3)
    ]
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.Table.from_pylist(table), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(table))


def measured(tiny: ModelRef, rows: DatasetRef, prompting: Any, scoring: Scoring, **more: Any) -> Scores:
    spec = EvaluateSpec(**{"max_new_tokens": 8, "reasoning_tokens": 4, "resamples": 20, **more})
    workspace = Workspace(Path(rows.uri).parent / "work")
    task = SimpleNamespace(kind=scoring.kind)
    done = measure(
        tiny, rows, split="validation", prompting=prompting, task=task, spec=spec, workspace=workspace, scoring=scoring
    )
    return done.result


def table(scores: Scores) -> list[dict[str, Any]]:
    return parquet.read_table(scores.outputs.uri).to_pylist()


def test_step_by_step_keeps_the_whole_output_beside_the_answer(tiny: ModelRef, rows: DatasetRef) -> None:
    scores = measured(tiny, rows, "step-by-step", Scoring(kind="verifiable"))
    plain = measured(tiny, rows, "zero-shot", Scoring(kind="verifiable"))
    found = table(scores)
    assert [row["output"] for row in found] == [final(row["whole_output"]) for row in found]
    assert [row["whole_output"] for row in found] != [row["output"] for row in table(plain)], "the request is asked"
    assert "whole_output" not in table(plain)[0]
    assert scores.asked == "step-by-step"


def test_a_vote_is_kept_with_its_draws_and_drawn_once(
    tiny: ModelRef, rows: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = Scoring(kind="classification")
    scores = measured(tiny, rows, "self-consistency", kind, self_consistency=SelfConsistencySpec(answers=3))
    for row in table(scores):
        draws = json.loads(row["draws"])
        place, votes = winner("classification", draws)
        assert (row["output"], row["votes"]) == (draws[place], votes)
        assert len(draws) == 3

    generated: list[int] = []
    before = generate._generate

    def counted(model: Any, tokenizer: Any, prompts: Any, *rest: Any) -> Any:
        generated.append(len(prompts))
        return before(model, tokenizer, prompts, *rest)

    monkeypatch.setattr(generate, "_generate", counted)
    # More answers: the first three are those of before.
    more = measured(tiny, rows, "self-consistency", kind, self_consistency=SelfConsistencySpec(answers=4))
    assert generated == [3]
    first = [json.loads(row["draws"]) for row in table(scores)]
    assert [json.loads(row["draws"])[:3] for row in table(more)] == first
    measured(tiny, rows, "self-consistency", kind, self_consistency=SelfConsistencySpec(answers=3), seed=1)
    assert generated == [3, 9], "another seed draws others"


def test_outputs_held_to_the_schema_are_valid_and_said_to_be_held(tiny: ModelRef, rows: DatasetRef) -> None:
    scoring = Scoring(kind="extraction", json_schema=SCHEMA)
    free = measured(tiny, rows, "zero-shot", scoring, max_new_tokens=40)
    held = measured(tiny, rows, "zero-shot", scoring, max_new_tokens=40, constrained="always")
    assert free.metrics["schema_valid"].value == 0
    ended = [row for row in table(held) if row["output"].endswith("}")]
    assert ended
    assert all(row["schema_valid"] == 1 for row in ended)
    assert held.asked == "zero-shot, held to the JSON Schema while decoding"
    assert free.asked == "zero-shot"


def test_rows_are_asked_again_and_in_other_words(tiny: ModelRef, rows: DatasetRef) -> None:
    again = ConsistencySpec(rows=2, repeats=2, paraphrases=["Please: {instruction}"])
    scores = measured(tiny, rows, "zero-shot", Scoring(kind="extraction"), consistency=again)
    part = scores.slices["consistency"]
    assert set(part.metrics) == {"consistency", "wrapper_agreement", "style_agreement"}
    assert part.metrics["consistency"].value == 0, "random weights write no JSON, so nothing agrees"
    found = table(part)
    assert [(row["id"], row["answer_pairs"]) for row in found] == [("0", 6.0), ("1", 6.0)]
    answers = json.loads(found[0]["answers"])
    assert answers[0] == table(scores)[0]["output"]
    assert len(set(answers)) > 1
