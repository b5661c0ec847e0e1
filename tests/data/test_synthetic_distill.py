"""Distillation: prompts → candidates → best → further steps → kept, with a reason for every row set aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from openai_server import Reply, Request, Server, echo
from pydantic import ValidationError

from posttrain.data import findings, load
from posttrain.data.engine import Engine
from posttrain.data.synthetic.distill import Distilled, distill
from posttrain.data.synthetic.expand import prompts_in
from posttrain.data.synthetic.spot_check import SpotCheck
from posttrain.data.table import Table, TableWriter
from posttrain.prompts import messages
from posttrain.spec.sections.data import Source
from posttrain.spec.sections.synthetic import DistillSpec, SpotCheckSpec

REASONS = ["rule", "value", "threshold", "twin", "verdict", "split"]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running


def spec(server: Server, teacher: dict[str, Any] | None = None, **settings: Any) -> DistillSpec:
    asked = {"model": "big", "base_url": server.url, "input_price": 1, "output_price": 2, "retry_delay_seconds": 0.01}
    given = {"prompts": ["p.jsonl"], **settings}
    return DistillSpec.model_validate({"teacher": {**asked, **(teacher or {})}, **given})


def rows(*prompts: str, **columns: list[str]) -> pl.DataFrame:
    made = {
        "id": [f"{number:016x}" for number in range(len(prompts))],
        "source": [f"p.jsonl:{number + 1}" for number in range(len(prompts))],
        "system": [""] * len(prompts),
        "prompt": list(prompts),
    }
    return pl.DataFrame({**made, **columns})


def reasons(done: Distilled) -> list[tuple[str, str, str]]:
    return [(row["rule"], row["prompt"], row["value"]) for row in done.set_aside.to_dicts()]


def test_rows_say_where_they_come_from(server: Server, tmp_path: Path) -> None:
    """10 tokens in at 1 and 5 out at 2 a million: 0.00002 a row."""
    done = distill(spec(server), rows("one", "two", own=["x", "y"]), tmp_path, instruction="Answer briefly.")
    assert done.rows["completion"].to_list() == ["answer 0 to one", "answer 0 to two"]
    first = done.rows.row(0, named=True)
    assert (first["source"], first["origin"], first["parent"]) == ("teacher:big#1", "synthetic", f"{0:016x}")
    assert (first["teacher"], first["teacher_cost"], first["own"]) == ("big-2026-01", "0.000020", "x")
    assert first["system"] == "Answer briefly."
    assert len(first["teacher_call"]) == 32
    assert all(kind == pl.String for kind in done.rows.schema.values())
    assert done.rows["id"].str.contains("^[0-9a-f]{16}$").all()
    assert done.rows["id"].n_unique() == 2
    assert (done.calls, done.cached, done.requests, done.input_tokens, done.output_tokens) == (2, 0, 2, 20, 10)
    assert done.cost == pytest.approx(0.00004)
    assert done.set_aside.height == 0
    assert done.set_aside.columns == [*done.rows.columns, *REASONS]
    assert server.requests[0].body["messages"][0] == {"role": "system", "content": "Answer briefly."}


def test_a_second_run_gives_the_same_without_a_call(server: Server, tmp_path: Path) -> None:
    server.replies = lambda request: Reply(echo(request).text, delay=0.05 * (request.number % 2))
    first = distill(spec(server, samples=3), rows("one", "two", "three"), tmp_path)
    again = distill(spec(server, samples=3), rows("one", "two", "three"), tmp_path)
    assert again.rows.equals(first.rows)
    assert (again.cached, again.requests, again.spent, again.cost) == (9, 0, 0.0, first.cost)
    assert len(server.requests) == 9
    assert first.rows["source"].to_list() == [f"teacher:big#{number}" for number in range(1, 10)]
    assert first.rows["completion"].to_list()[:3] == [f"answer {seed} to one" for seed in range(3)]


def test_answers_that_are_no_completions_are_set_aside(server: Server, tmp_path: Path) -> None:
    replies = {
        "good": Reply("A fine answer."),
        "long": Reply("and so on and", finish="length", tokens=(9, 1024)),
        "none": Reply("  \n"),
        "sorry": Reply("I'm sorry, but I can't help with that."),
        "对不起": Reply("抱歉，我无法回答这个问题。"),
        "field": Reply("", refusal="No."),
        "held": Reply("", finish="content_filter"),
        "bad": Reply(status=400, body={"error": {"message": "too long"}}),
        "thinks": Reply("<think>one and one</think>\n\nTwo.", tokens=(9, 30)),
        "apart": Reply("Two.", reasoning="one and one"),
    }
    server.replies = lambda request: replies[request.prompt]
    done = distill(spec(server), rows(*replies), tmp_path)
    assert done.rows["prompt"].to_list() == ["good", "thinks", "apart"]
    assert done.rows["completion"].to_list() == ["A fine answer.", "Two.", "Two."]
    assert done.rows["rationale"].to_list() == ["", "one and one", "one and one"]
    assert reasons(done) == [
        ("failed", "bad", "HTTP 400: too long"),
        ("cut_off", "long", "1,024 tokens and not at its end"),
        ("filtered", "held", "finish_reason content_filter"),
        ("empty", "none", "no text"),
        ("refusal", "sorry", "I'm sorry, but I can't help with that."),
        ("refusal", "对不起", "抱歉，我无法回答这个问题。"),
        ("refusal", "field", "No."),
    ]
    assert set(done.set_aside["verdict"]) == {"drop"}
    assert [(step.step, step.rows_in, step.rows_out) for step in done.funnel] == [
        ("repeated_prompt", 10, 10),
        ("ask", 10, 10),
        ("failed", 10, 9),
        ("cut_off", 9, 8),
        ("filtered", 8, 7),
        ("empty", 7, 6),
        ("refusal", 6, 3),
    ]
    kept = distill(spec(server, teacher={"keep_refusals": True}), rows("sorry"), tmp_path)
    assert kept.rows["completion"].to_list() == ["I'm sorry, but I can't help with that."]


def test_a_prompt_is_asked_once(server: Server, tmp_path: Path) -> None:
    done = distill(spec(server), rows("one", "two", "one"), tmp_path)
    assert server.prompts == ["one", "two"] or server.prompts == ["two", "one"]
    aside = done.set_aside.row(0, named=True)
    assert (aside["rule"], aside["id"], aside["twin"]) == ("repeated_prompt", f"{2:016x}", f"{0:016x}")


def test_a_conversation_is_asked_as_it_is(server: Server, tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "how are you?"},
        {"role": "assistant", "content": "to be replaced"},
    ]
    flat = "User: hi\n\nAssistant: hello\n\nUser: how are you?"
    asked = rows(flat, "plain", messages=[json.dumps(turns), ""])
    done = distill(spec(server, teacher={"concurrency": 1}), asked, tmp_path, instruction="Be kind.")
    assert server.requests[0].body["messages"] == [{"role": "system", "content": "Be kind."}, *turns[:3]]
    row, plain = done.rows.to_dicts()
    assert row["prompt"] == flat
    assert json.loads(row["messages"])[-1] == {"role": "assistant", "content": "answer 0 to how are you?"}
    assert row["system"] == plain["system"] == "Be kind."
    assert json.loads(plain["messages"]) == messages("", "plain", "answer 0 to plain")
    alone = distill(spec(server), rows("plain", messages=[""]), tmp_path, instruction="Be kind.")
    assert "messages" not in alone.rows.columns


def test_the_rows_are_a_file_like_any_other(server: Server, tmp_path: Path) -> None:
    """Written as Parquet and read as a source, with conversations and without."""
    turns = messages("Be kind.", "hi", "to be replaced")
    for name, asked in (("plain", rows("one", "two")), ("dialog", rows("one", "hi", messages=["", json.dumps(turns)]))):
        done = distill(spec(server), asked, tmp_path, instruction="Be kind.")
        with TableWriter(tmp_path / f"{name}.parquet", done.rows.columns) as writer:
            writer.write(done.rows)
        found = pl.concat(load.read([Source(path=f"{name}.parquet", keep=["origin", "teacher"])], tmp_path, "train"))
        assert found["problem"].to_list() == ["", ""]
        columns = ["system", "prompt", "completion", "origin", "teacher"]
        assert found.select(columns).to_dicts() == done.rows.select(columns).to_dicts()
    assert json.loads(found["messages"][1]) == messages("Be kind.", "hi", "answer 0 to hi")


def test_the_best_of_several_stays(server: Server, tmp_path: Path) -> None:
    """The reward is the seed's digit, but for prompt two, whose best of 2 is not enough."""
    server.replies = lambda request: Reply(f"{request.prompt} {request.body['seed']}")
    (tmp_path / "rewards.py").write_text(
        "def digit(prompts, completions, *, expected, **columns):\n"
        "    return [-1.0 if known == 'never' else float(said[-1]) for said, known in zip(completions, expected)]\n",
        encoding="utf-8",
    )
    best = {"reward": "rewards.py:digit", "at_least": 1.5}
    asked = rows("one", "two", completion=["known", "never"])
    done = distill(spec(server, samples=3, best_of=best), asked, tmp_path / "calls", root=tmp_path)
    assert done.rows["completion"].to_list() == ["one 2"]
    assert "expected" not in done.rows.columns
    assert [(row["prompt"], row["value"], row["threshold"]) for row in done.set_aside.to_dicts()] == [
        ("one", "reward 0, the best 2", "the best of its prompt, at least 1.5"),
        ("one", "reward 1, the best 2", "the best of its prompt, at least 1.5"),
        ("two", "reward -1, the best -1", "the best of its prompt, at least 1.5"),
        ("two", "reward -1, the best -1", "the best of its prompt, at least 1.5"),
        ("two", "reward -1, the best -1", "the best of its prompt, at least 1.5"),
    ]
    assert set(done.set_aside["twin"].to_list()[:2]) == {done.rows["id"][0]}


@dataclass(frozen=True)
class SameLength:
    """A table step for the tests: of completions of one length, the first stays."""

    name: str = "same_length"
    reason: str = "another completion has this length"

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        rows = table.frame(["completion", "id"]).with_columns(size=pl.col("completion").str.len_chars())
        again = rows.filter(~pl.col("size").is_first_distinct())
        return findings.findings(again[Table.INDEX], "as long as another", "once")


def test_further_steps_judge_the_candidates_in_order(server: Server, tmp_path: Path) -> None:
    server.replies = lambda request: Reply("x" * (int(request.prompt) // 2 + 1))
    check = SpotCheck(SpotCheckSpec(share=1.0))
    done = distill(spec(server), rows(*map(str, range(20))), tmp_path, steps=[SameLength(), check])
    assert done.rows.height == 0
    assert done.set_aside["rule"].to_list() == ["same_length"] * 10 + ["spot_check"] * 10
    assert done.set_aside["verdict"].to_list() == ["drop"] * 10 + ["review"] * 10
    last = done.funnel[-1]
    assert (last.step, last.rows_in, last.rows_out, last.review) == ("spot_check", 10, 0, 10)
    assert list(tmp_path.glob("tmp*")) == [], "nothing is left behind"


def test_known_rows_are_worked_examples(server: Server, tmp_path: Path) -> None:
    known = rows("k1", "k2", "k3", completion=["a1", "a2", "a3"])
    done = distill(spec(server, examples=2), rows("new"), tmp_path, instruction="Do it.", known=known)
    turns = server.requests[0].body["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert {(turns[1]["content"], turns[2]["content"])} <= {("k1", "a1"), ("k2", "a2"), ("k3", "a3")}
    assert done.rows["prompt"].to_list() == ["new"]


def test_new_prompts_in_the_manner_of_the_known(server: Server, tmp_path: Path) -> None:
    """Three are wanted. The first call writes two, one of them much like a known prompt; so a second round follows."""
    written = [["play some jazz for me please", "what will the weather be in Oslo"], ["book a table for two tonight"]]
    rounds: list[str] = []

    def reply(request: Request) -> Reply:
        if "further inputs" not in request.prompt:
            return echo(request)
        rounds.append(request.prompt)
        listed = written[len(rounds) - 1] if len(rounds) <= 2 else [f"something else, number {len(rounds)}"]
        return Reply(f"Here they are:\n{json.dumps(listed)}")

    server.replies = reply
    known = rows("play some jazz for me", "rate this book five stars", completion=["a", "b"])
    asked = spec(server, prompts=[], new_prompts=3, prompt_similarity=0.6)
    done = distill(asked, rows(), tmp_path, instruction="Understand commands.", known=known)
    assert done.rows["prompt"].to_list() == [
        "what will the weather be in Oslo",
        "book a table for two tonight",
        "something else, number 3",
    ]
    assert "Understand commands." in rounds[0]
    assert '"rate this book five stars"' in rounds[0]
    assert reasons(done)[0][:2] == ("new_prompts", "play some jazz for me please")
    assert "like 'play some jazz for me'" in reasons(done)[0][2]
    assert (done.calls, len(rounds)) == (3 + 3, 3)
    again = distill(asked, rows(), tmp_path, instruction="Understand commands.", known=known)
    assert again.rows.equals(done.rows)
    assert again.requests == 0


def test_the_cap_holds_for_new_prompts_and_answers_together(server: Server, tmp_path: Path) -> None:
    """Every call costs 10 + 5 = 15. The one for new prompts may cost 100 and a token a byte of some 450: not below a
    cap of 100. Answers may cost at most 9 + 16 + 100 = 125: below a cap of 600, all four begin, the last at 60."""
    server.replies = lambda request: (
        Reply('["aaaa", "bbbb", "cccc"]') if "further inputs" in request.prompt else echo(request)
    )
    price = {"input_price": 1_000_000, "output_price": 1_000_000, "max_tokens": 100}
    done = distill(spec(server, {**price, "max_cost": 600}, new_prompts=3), rows("known one"), tmp_path)
    assert (done.rows.height, done.cost, done.stopped) == (4, 75.0, "")
    less = distill(spec(server, {**price, "max_cost": 100}, new_prompts=3), rows("known one"), tmp_path)
    assert (less.rows.height, less.cost) == (0, 0)
    assert "max_cost 100.00" in less.stopped
    assert len(server.requests) == 5


def test_stopped_by_the_cap_it_keeps_what_there_is_and_says_so(server: Server, tmp_path: Path) -> None:
    """An answer costs 15 and may cost 3 + 16 + 100 = 119: below a cap of 140, two of them begin (0, 15; 30 is too
    much: 30 + 119 = 149)."""
    price = {"input_price": 1_000_000, "output_price": 1_000_000, "max_tokens": 100, "max_cost": 140}
    done = distill(spec(server, price), rows("one", "two", "six", "ten"), tmp_path)
    assert done.rows["prompt"].to_list() == ["one", "two"]
    assert done.stopped.startswith("the next call could take the cost of 30.00 beyond max_cost 140.00")
    assert [(step.rows_in, step.rows_out) for step in done.funnel if step.step == "ask"] == [(4, 2)]
    assert done.funnel[1].reason.startswith("stopped: ")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('```json\n["a",\n "b"]\n```', ["a", "b"]),
        ('1. "first one"\n2) second one\n- third', ["first one", "second one", "third"]),
        ('["a", 3, ""]', ["a"]),
        ("nothing of the sort", []),
    ],
)
def test_prompts_are_found_in_a_reply(text: str, found: list[str]) -> None:
    assert prompts_in(text) == found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompts": []}, "neither prompts nor new_prompts"),
        ({"samples": 2, "teacher": {"model": "tiny", "temperature": 0}}, "the same completion each time"),
        ({"best_of": {"reward": "rewards"}}, "pattern"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DistillSpec.model_validate({"teacher": {"model": "tiny"}, "prompts": ["p.jsonl"], **settings})
