"""Judges: a real reward model, and a language model behind a real socket that has a taste of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from openai_server import Reply, Request, Server

from posttrain.artifacts import ModelRef
from posttrain.errors import DataError, ModelError
from posttrain.evaluation.judge import Comparison, Judge, judge_of
from posttrain.evaluation.measure import score
from posttrain.evaluation.scoring import Scoring
from posttrain.spec.sections.judge import JudgeSpec

ROWS = [
    {"id": str(place), "system": "", "prompt": f"Say {word}.", "completion": word}
    for place, word in enumerate(("one", "two", "three", "four"))
]
OUTPUTS = ["one, please", "two", "", "four please"]


def answers(request: Request) -> tuple[str, str]:
    """The answers A and B in a request."""
    text = request.prompt
    return tuple(text.split(f"[Start of answer {name}]\n")[1].split(f"\n[End of answer {name}]")[0] for name in "AB")  # type: ignore[return-value]


def polite(request: Request) -> Reply:
    """A judge that wants a please, and else sees no difference; it explains itself first."""
    first, second = ("please" in answer for answer in answers(request))
    verdict = "tie" if first == second else "A" if first else "B"
    return Reply(f"I might have said [[B]], but on reflection: [[{verdict}]]")


def of(server: Server, **more: object) -> Judge:
    spec = JudgeSpec(model="judge", endpoint=server.url, input_price=0, output_price=0, **more)  # type: ignore[arg-type]
    return judge_of(spec, Path())


def counted(judge: Judge, cache: Path) -> list[dict[str, float]]:
    return judge.judged(ROWS, OUTPUTS, cache)


def test_an_endpoint_is_asked_in_both_orders_once(tmp_path: Path) -> None:
    """Preferred, the same words (nobody is asked), a tie, preferred: (1 + .5 + .5 + 1) / 4."""
    with Server(polite).running() as server:
        table = counted(of(server), tmp_path)
        assert [row["win_rate"] for row in table] == [1, 0.5, 0.5, 1]
        assert score(table, "win_rate", 100, 0).value == pytest.approx(0.75)
        assert score(table, "judge_position_agreement", 100, 0).value == 1
        assert [row["characters_longer"] for row in table] == [8, 0, -5, 7]
        pairs = [answers(request) for request in server.requests]
        assert sorted(pairs) == sorted(
            pair
            for a, b in [("one, please", "one"), ("", "three"), ("four please", "four")]
            for pair in ((a, b), (b, a))
        )
        assert all(request.body["temperature"] == 0 for request in server.requests)
        counted(of(server), tmp_path)
        assert len(server.requests) == 6, "verdicts come from the cache"


def test_a_judge_that_prefers_what_stands_first_decides_nothing(tmp_path: Path) -> None:
    with Server(lambda request: Reply("[[A]]")).running() as server:
        table = counted(of(server), tmp_path)
    assert [row["win_rate"] for row in table] == [0.5] * 4
    assert score(table, "judge_position_agreement", 100, 0).value == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (lambda request: Reply("Both are fine."), r"6 of 6 answers of judge are no verdict"),
        (lambda request: Reply("", status=402), "6 of 6 verdicts are missing"),
    ],
)
def test_a_judge_that_is_no_use_is_told(reply: Callable[[Request], Reply], said: str, tmp_path: Path) -> None:
    with Server(reply).running() as server, pytest.raises(DataError, match=said):
        counted(of(server), tmp_path)


def test_other_answers_come_from_files_by_id_or_prompt(tmp_path: Path) -> None:
    """An outputs.parquet of another model has the ids; a list of answers by prompt will do as well."""
    pl.DataFrame({"id": ["0", "1"], "output": ["x please", "y"]}).write_parquet(tmp_path / "theirs.parquet")
    lines = [{"prompt": row["prompt"], "output": "z"} for row in ROWS[2:]]
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with Server(polite).running() as server:
        spec = JudgeSpec(
            model="judge", endpoint=server.url, input_price=0, output_price=0, against=["theirs.parquet", "more.jsonl"]
        )
        table = counted(judge_of(spec, tmp_path), tmp_path)
        assert [row["win_rate"] for row in table] == [0.5, 0.5, 0.5, 1]
        spec = spec.model_copy(update={"against": ["theirs.parquet"]})
        with pytest.raises(DataError, match=r"theirs\.parquet has no answer for row 2"):
            counted(judge_of(spec, tmp_path), tmp_path)
    (tmp_path / "wrong.csv").write_text("id,text\n1,x", encoding="utf-8")
    with pytest.raises(DataError, match=r"wrong\.csv: found columns id, text"):
        judge_of(spec.model_copy(update={"against": ["wrong.csv"]}), tmp_path)


@pytest.fixture(scope="module")
def reward_model(tiny: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny random model with a head of one score, as `save_pretrained` writes it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from posttrain.models.load import quiet

    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(0)
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(tiny.base, num_labels=1)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny.base).save_pretrained(folder)
    return folder


def test_a_reward_model_prefers_the_higher_score_whatever_the_order(reward_model: Path, tmp_path: Path) -> None:
    from posttrain.data.steps.scoring import rewards

    judge = judge_of(JudgeSpec(model=str(reward_model)), tmp_path)
    pairs = [Comparison("", row["prompt"], ours, row["completion"]) for row, ours in zip(ROWS, OUTPUTS, strict=True)]
    turned = [Comparison(pair.system, pair.prompt, pair.other, pair.ours) for pair in pairs]
    found = [preference.value for preference in judge.prefers(pairs, tmp_path)]
    assert [1 - preference.value for preference in judge.prefers(turned, tmp_path)] == found
    assert found[1] == 0.5
    ours, other = (
        rewards(reward_model, [("", pair.prompt, text) for pair, text in zip(pairs, texts, strict=True)], 1024)[:, 0]
        for texts in (OUTPUTS, [pair.other for pair in pairs])
    )
    assert [float(a > b) for a, b in zip(ours, other, strict=True) if a != b] == [
        value for value in found if value != 0.5
    ]
    measured = Scoring(kind="chat", judge=judge).metrics()
    assert "win_rate" in measured
    assert "judge_position_agreement" not in measured
    assert judge.digest


def test_a_model_without_a_score_is_refused(tiny: ModelRef, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"LlamaForCausalLM, not a sequence classifier; evaluate\.judge\.model"):
        judge_of(JudgeSpec(model=tiny.base), tmp_path)


def test_without_a_judge_chat_is_measured_by_likeness() -> None:
    scoring = Scoring(kind="chat")
    assert scoring.metrics() == ("rouge_l", "semantic_similarity", "stop_rate")
