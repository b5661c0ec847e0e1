"""Scores by models: those of transformers itself, the same in any batch, and only the ends of the ranking set aside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from posttrain.data.embedding.pretrained import loaded
from posttrain.data.engine import Local
from posttrain.data.steps import TableStep
from posttrain.data.steps import scores as scores_module
from posttrain.data.steps.scores import PerplexityScore, RewardScore
from posttrain.data.steps.scoring import Asked, perplexities, rewards
from posttrain.data.table import Table, TableWriter
from posttrain.errors import ModelError
from posttrain.spec.sections.scores import PerplexitySpec, RewardSpec

TINY = Path(__file__).resolve().parents[2] / "posttrain" / "models" / "tiny"
ROWS: list[Asked] = [
    ("", "What is a sign of dehydration?", "A dry mouth and dark urine are signs that the body has too little water."),
    ("Answer in one sentence.", "Name a planet.", "Mars is a planet."),
    ("", "Name a planet.", "xq zzv krr blfp wwq jjx vkq zzt pqq xxv"),
    ("", "Say yes.", "Yes"),
    ("", "Name a color.", "Blue is a color that many people like, as the sky and the sea have it."),
]


def table(tmp_path: Path, rows: list[Asked], answer: str = "completion") -> Table:
    with TableWriter(tmp_path / "rows.parquet", ("id", "system", "prompt", answer)) as writer:
        writer.write(pl.DataFrame(rows, schema=["system", "prompt", answer], orient="row"))
    return Table(tmp_path / "rows.parquet")


def surprise(row: Asked) -> tuple[float, int]:
    """The mean negative log-likelihood of the answer's tokens, and their number, one row by itself."""
    import torch

    tokenizer, model = loaded(TINY, "AutoModelForCausalLM")
    system, prompt, answer = row
    head = [{"role": "system", "content": system}] if system else []
    asked = tokenizer.apply_chat_template(
        [*head, {"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    told = tokenizer.apply_chat_template(
        [*head, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}], tokenize=False
    )
    start = len(tokenizer(asked, add_special_tokens=False)["input_ids"])
    ids = tokenizer(told, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        chances = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    losses = [-float(chances[place - 1, ids[place]]) for place in range(start, len(ids))]
    return sum(losses) / len(losses), len(losses)


def test_only_the_answers_tokens_count() -> None:
    found = perplexities(TINY, ROWS, 256)
    for row, (mean, count) in zip(ROWS, found.tolist(), strict=True):
        expected, tokens = surprise(row)
        assert mean == pytest.approx(expected, abs=1e-4)
        assert count == tokens


def test_a_row_has_the_same_bits_in_any_company() -> None:
    whole = perplexities(TINY, ROWS, 256)
    assert (perplexities(TINY, ROWS[::-1][:3], 256) == whole[::-1][:3]).all()


def test_of_a_row_too_long_the_prompt_loses_its_beginning_first() -> None:
    long = ("", "Once upon a time there was a king. " * 40 + ROWS[0][1], ROWS[0][2])
    short = perplexities(TINY, [long], 96)[0]
    whole = perplexities(TINY, [ROWS[0]], 256)[0]
    assert short[1] == whole[1] < 48  # all of the answer is there
    endless = ("", ROWS[0][1], "and so on " * 400)
    assert 32 <= perplexities(TINY, [endless], 64)[0][1] < 64


def test_the_most_surprising_answer_goes_to_review(tmp_path: Path) -> None:
    step = PerplexityScore(PerplexitySpec(drop_top=0.25), base=str(TINY))
    assert isinstance(step, TableStep)
    found = step.search(table(tmp_path, ROWS), Local()).to_dicts()
    assert [(row["row"], row["verdict"], row["threshold"]) for row in found] == [
        (2, "review", "not among the highest 0.25")
    ]
    assert found[0]["value"] == f"perplexity {math.exp(perplexities(TINY, [ROWS[2]], 256)[0, 0]):.4g}"


def test_short_answers_are_not_judged_and_a_limit_holds_for_all_others(tmp_path: Path) -> None:
    rows = table(tmp_path, ROWS)
    limited = PerplexitySpec(drop_top=0, max=1.01, min_tokens=1, verdict="drop")
    found = PerplexityScore(limited, str(TINY)).search(rows, Local())
    assert found["row"].to_list() == [0, 1, 2, 3, 4]
    assert set(found["threshold"]) == {"at most 1.01"}
    longer = limited.model_copy(update={"min_tokens": 8})
    assert 3 not in PerplexityScore(longer, str(TINY)).search(rows, Local())["row"].to_list()
    assert PerplexityScore(PerplexitySpec(drop_top=0), str(TINY)).search(rows, Local()).height == 0


def test_a_second_run_reads_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, store = table(tmp_path, ROWS), str(tmp_path / "store")
    spec = PerplexitySpec(drop_top=0.5, min_tokens=1)
    first = PerplexityScore(spec, str(TINY), store).search(rows.without([0]), Local())
    asked: list[int] = []

    def counting(folder: Path, some: list[Asked], max_tokens: int) -> Any:
        asked.append(len(some))
        return perplexities(folder, some, max_tokens)

    counting.__name__ = perplexities.__name__
    monkeypatch.setattr(scores_module, "perplexities", counting)
    assert PerplexityScore(spec, str(TINY), store).search(rows.without([0]), Local()).equals(first)
    assert PerplexityScore(spec, str(TINY), store).search(rows, Local()).height == 2
    assert asked == [0, 1]


def test_of_pairs_the_chosen_answer_is_judged(tmp_path: Path) -> None:
    spec = PerplexitySpec(drop_top=0.25)
    found = PerplexityScore(spec, str(TINY)).search(table(tmp_path, ROWS, "chosen"), Local())
    assert found["row"].to_list() == [2]


# --- reward models -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small reward model with the tiny model's tokenizer; its weights are chance, its scores differ."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_labels=1, max_position_embeddings=512, pad_token_id=tokenizer.pad_token_id, initializer_range=0.5,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("judge")
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def scored(judge: Path, row: Asked) -> float:
    """The score of a row by itself, without padding."""
    import torch

    tokenizer, model = loaded(judge, "AutoModelForSequenceClassification")
    system, prompt, answer = row
    conversation = [{"role": "system", "content": system}] if system else []
    conversation += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    text = tokenizer.apply_chat_template(conversation, tokenize=False)
    with torch.no_grad():
        return float(model(torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])).logits[0, 0])


def test_rewards_are_the_models_own(judge: Path) -> None:
    found = rewards(judge, ROWS, 256)[:, 0]
    assert found.tolist() == pytest.approx([scored(judge, row) for row in ROWS], abs=1e-4)
    assert len(set(found.round(3).tolist())) == len(ROWS)


def test_the_least_liked_are_set_aside(tmp_path: Path, judge: Path) -> None:
    liked = [scored(judge, row) for row in ROWS]
    order = sorted(range(len(ROWS)), key=liked.__getitem__)
    limit = (liked[order[0]] + liked[order[1]]) / 2
    rows = table(tmp_path, ROWS)
    step = RewardScore(RewardSpec(model=str(judge), min=limit))
    assert isinstance(step, TableStep)
    found = step.search(rows, Local()).to_dicts()
    assert [(row["row"], row["threshold"], row["verdict"]) for row in found] == [
        (order[0], f"at least {limit:g}", "drop")
    ]
    assert float(found[0]["value"].removeprefix("reward ")) == pytest.approx(liked[order[0]], rel=1e-3)
    share = RewardScore(RewardSpec(model=str(judge), drop_bottom=0.4)).search(rows, Local())
    assert share["row"].to_list() == sorted(order[:2])


def test_what_is_no_reward_model_is_refused(tmp_path: Path, judge: Path) -> None:
    with pytest.raises(ModelError, match="not a sequence classifier"):
        rewards(TINY, ROWS, 64)
    two = tmp_path / "two"
    two.mkdir()
    (two / "config.json").write_text('{"architectures": ["XForSequenceClassification"]}', encoding="utf-8")
    with pytest.raises(ModelError, match="has 2 labels"):
        rewards(two, ROWS, 64)
    with pytest.raises(ValueError, match="neither min nor drop_bottom"):
        RewardSpec(model=str(judge))
