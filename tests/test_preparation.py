"""The data stages of one spec, from a teacher's answers to rows worth training on, as a notebook would run them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from openai_server import Reply, Request, Server

from posttrain.data.account.row_verdict import RowVerdict, add, beside, content, now
from posttrain.preflight import check
from posttrain.preparation import Preparation

SPEC = """\
name: capitals
task: {{kind: text, instruction: "Answer in a sentence."}}
data:
  train: [train.jsonl]
  test: [test.jsonl]
validate: {{max_quarantined: 0.5}}
curate: {{validation_rows: 2}}
synthetic:
  distill:
    prompts: [prompts.jsonl]
    teacher: {{model: big, base_url: "{url}", input_price: 1, output_price: 2}}
  augment: {{reworded: 1.0, instructions: ["Say it in one sentence."]}}
  spot_check: {{share: 0.5}}
"""
PLACES = ["Norway", "Chile", "Kenya", "Japan", "Peru", "Egypt", "Nepal", "Cuba", "Ghana", "Malta", "Qatar", "Samoa"]


def tell(request: Request) -> Reply:
    place = request.prompt.removeprefix("Tell me about ")
    return Reply(f"{place} is a country that I know a good deal about, being a model of the world.")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(tell).running() as running:
        yield running


@pytest.fixture
def preparation(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preparation:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-key")
    rows = [
        {"prompt": f"What is the capital of {place}?", "completion": f"The capital of {place} is on every map of it."}
        for place in PLACES
    ]
    for name, some in (("train", rows[:9]), ("test", rows[9:])):
        Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)), encoding="utf-8")
    asked = [json.dumps({"prompt": f"Tell me about {place}", "completion": ""}) for place in PLACES]
    Path("prompts.jsonl").write_text("\n".join(asked), encoding="utf-8")
    Path("spec.yaml").write_text(SPEC.format(url=server.url), encoding="utf-8")
    return Preparation.of(check(Path("spec.yaml")))


def test_a_teachers_rows_go_through_both_stages_and_wait_for_a_look(preparation: Preparation, server: Server) -> None:
    made = preparation.distill()
    assert made is not None
    assert made.result.rows.rows == len(PLACES) == len(server.requests)
    data = preparation.with_rows(made.result.rows)
    valid = data.validate().result
    assert valid.train.rows == 9 + len(PLACES)
    rows = data.curate(valid).result
    aside = pl.read_parquet(rows.dropped.uri)
    waiting = aside.filter(pl.col("rule") == "spot_check")
    assert 0 < waiting.height < len(PLACES)
    assert set(waiting["verdict"]) == {"review"}
    train = pl.read_parquet(rows.train.uri)
    assert train.filter(pl.col("origin") == "synthetic").height + waiting.height <= len(PLACES)
    told_again = train.filter(pl.col("origin") == "augmented")
    assert set(told_again["system"]) == {"Say it in one sentence."}
    assert told_again.height == rows.funnel[-1].rows_in - train.filter(pl.col("origin") != "augmented").height

    word = waiting.row(0, named=True)
    verdict = RowVerdict(
        id=word["id"], content=content(word), rule="spot_check", verdict="keep", by="ann", at=now(), note=""
    )
    add(beside(Path("spec.yaml")), [verdict])
    again = Preparation.of(check(Path("spec.yaml")))
    asked_before = again.distill()
    assert asked_before is not None
    assert asked_before.reused
    assert len(server.requests) == len(PLACES)
    accepted = again.with_rows(asked_before.result.rows)
    kept = accepted.curate(accepted.validate().result).result
    still = pl.read_parquet(kept.dropped.uri).filter(pl.col("rule") == "spot_check")
    assert set(still["id"]) == set(waiting["id"]) - {word["id"]}
