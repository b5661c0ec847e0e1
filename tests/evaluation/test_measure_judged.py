"""The measuring stage with a judge and with code: a real model, a real socket, real programs; gates pair rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai_server import Reply, Request, Server

from posttrain.artifacts import DatasetRef, ModelRef, Workspace
from posttrain.errors import DataError
from posttrain.evaluation.judge import judge_of
from posttrain.evaluation.measure import measure
from posttrain.evaluation.rows import write
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.scoring import Scoring
from posttrain.gates import judge as gate
from posttrain.spec.sections.evaluate import EvaluateSpec
from posttrain.spec.sections.gates import Gate
from posttrain.spec.sections.judge import JudgeSpec
from posttrain.spec.sections.task import TaskSpec


def shorter(request: Request) -> Reply:
    """A judge that prefers the shorter answer."""
    lengths = [
        len(request.prompt.split(f"[Start of answer {name}]\n")[1].split(f"\n[End of answer {name}]")[0])
        for name in "AB"
    ]
    return Reply("[[tie]]" if lengths[0] == lengths[1] else "[[A]]" if lengths[0] < lengths[1] else "[[B]]")


def asked(folder: Path, model: ModelRef, rows: DatasetRef, scoring: Scoring, **more: int) -> Scores:
    return measure(
        model,
        rows,
        split="validation",
        prompting="zero-shot",
        task=TaskSpec(kind=scoring.kind, run_code=True),  # type: ignore[arg-type]
        spec=EvaluateSpec(resamples=200, **{"max_new_tokens": 8, **more}),  # type: ignore[arg-type]
        workspace=Workspace(folder),
        scoring=scoring,
    ).result


def test_chat_is_judged_and_gates_pair_the_rows(tiny: ModelRef, tmp_path: Path) -> None:
    """One token is shorter than nine characters and forty tokens are not; no verdict is asked for twice."""
    words = ["one", "two", "three", "four", "five", "six"]
    told = [{"id": word, "system": "", "prompt": f"Say {word}", "completion": "nine long"} for word in words]
    rows = write(told, tmp_path / "rows.parquet", tmp_path / "rows.parquet")
    with Server(shorter).running() as server:
        spec = JudgeSpec(model="judge", endpoint=server.url, input_price=0, output_price=0)
        scoring = Scoring(kind="chat", judge=judge_of(spec, tmp_path))
        long = asked(tmp_path, tiny, rows, scoring, max_new_tokens=40)
        short = asked(tmp_path, tiny, rows, scoring, max_new_tokens=1)
        calls = len(server.requests)
        again = asked(tmp_path, tiny, rows, scoring, max_new_tokens=1, batch_size=2)
        assert len(server.requests) == calls
    assert set(short.metrics) == {
        "win_rate",
        "length_controlled_win_rate",
        "judge_position_agreement",
        "rouge_l",
        "semantic_similarity",
        "stop_rate",
    }
    assert again.metrics == short.metrics
    assert short.metrics["judge_position_agreement"].value == 1
    assert short.metrics["win_rate"].value > long.metrics["win_rate"].value
    verdict = gate(
        "release",
        [
            Gate(metric="win_rate", above="baseline"),
            Gate(metric="length_controlled_win_rate", not_worse_than="baseline", margin=1.0),
        ],
        short,
        {"baseline": long},
        resamples=200,
    )
    assert verdict.passed
    assert verdict.checks[0].gain == pytest.approx(short.metrics["win_rate"].value - long.metrics["win_rate"].value)


def test_code_is_run_on_the_rows_own_tests(tiny: ModelRef, tmp_path: Path) -> None:
    told = [{"id": "0", "system": "", "prompt": "play", "completion": "x", "tests": "assert 1 + 1 == 3"}]
    rows = write(told, tmp_path / "rows.parquet", tmp_path / "rows.parquet")
    scores = asked(tmp_path, tiny, rows, Scoring(kind="code"))
    assert scores.metrics["pass_rate"].value == 0
    bare = write([{**told[0], "tests": ""}], tmp_path / "bare.parquet", tmp_path / "bare.parquet")
    with pytest.raises(DataError, match=r"row 0: has no tests in the column 'tests'"):
        asked(tmp_path, tiny, bare, Scoring(kind="code"))
