"""Rewards, and pairs of the policy's own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import DatasetRef, ModelRef, Workspace
from posttrain.data.steps import scoring
from posttrain.errors import DataError, ModelError
from posttrain.evaluation.slices import Slice
from posttrain.spec import AlignSpec, SFTSpec, TaskSpec
from posttrain.training import pairs, sft
from posttrain.training.rewards import extraction, intent_slots
from posttrain.training.rows import read

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

GOLD = '{"intent": "Play", "slots": {"artist": "blur", "year": "1997"}}'


def test_json_counts_first_then_intent_then_slots() -> None:
    better_and_better = [
        "play blur",
        '{"intent": "Stop", "slots": {}}',
        '{"intent": "Stop", "slots": {"artist": "blur"}}',
        '{"intent": "Play", "slots": {"artist": "blur"}}',
        GOLD,
    ]
    scores = intent_slots(["p"] * 5, better_and_better, expected=[GOLD] * 5)

    # slot F1 of one right of two: 2·1 / (2·1 + 0 + 1) = 2/3
    assert scores == pytest.approx([0, 0.2, 0.2 + 0.6 * 2 / 3, 0.4 + 0.6 * 2 / 3, 1])


def test_extraction_is_ranked_by_its_fields() -> None:
    gold = '{"name": "Li", "skills": ["sql", "go"]}'
    found = ['{"name": "Li", "skills": ["go", "sql"]}', '{"name": "Li"}', "Li"]

    # one field right of three: 2·1 / (2·1 + 0 + 2) = 1/2
    assert extraction(["p"] * 3, found, expected=[gold] * 3) == pytest.approx([1, 0.4 + 0.6 / 2, 0])


def job(**changes: Any) -> pairs.PairsJob:
    base = ModelRef(base="", fingerprint="")
    rows = DatasetRef(uri="", fingerprint="", rows=0)
    return pairs.PairsJob(
        **{"model": base, "train": rows, "kind": "intent_slots", "prompts": 3, "samples": 2, "temperature": 1.0,
           "top_p": 1.0, "min_margin": 0.1, "max_new_tokens": 8, "batch_size": 8, "threads": 1, "seed": 0,
           "partial": "", "final": "", **changes}
    )  # fmt: skip


def test_best_and_worst_make_a_pair_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [{"id": name, "system": "", "prompt": name, "completion": GOLD} for name in ("mixed", "right", "wrong")]
    half = '{"intent": "Play", "slots": {"artist": "blur"}}'
    answers = [[half, GOLD], [GOLD, GOLD], ["no", "never"]]

    given = job(partial=str(tmp_path), final=str(tmp_path))
    result = pairs.rank(given, rows, answers, pairs.scores_of(given, rows, answers), 0.0)

    (pair,) = read(result.pairs)
    assert (pair["id"], pair["chosen"], pair["rejected"]) == ("mixed", GOLD, half)
    assert pair["margin"] == pytest.approx(0.2)  # 0.6 · (1 - 2/3)
    assert (result.kept, result.no_margin, result.all_right, result.none_right) == (1, 2, 1, 1)
    assert result.dropped == {"min_margin": 2}
    near = read(result.set_aside)
    assert [(pair["id"], pair["rejected"], pair["value"]) for pair in near] == [
        ("right", GOLD, "margin 0"),
        ("wrong", "never", "margin 0"),
    ]


def test_rows_that_cannot_be_verified_are_not_sampled_from() -> None:
    text = {"id": "g", "system": "", "prompt": "hello", "completion": "Hello to you."}
    task = {"id": "t", "system": "", "prompt": "play", "completion": GOLD}

    assert pairs.verifiable_rows([text, task], intent_slots, "x.parquet") == [task]
    with pytest.raises(DataError, match=r"x\.parquet.*none of 1 rows"):
        pairs.verifiable_rows([text], intent_slots, "x.parquet")


def test_half_of_the_prompts_come_from_the_slices_that_lag() -> None:
    rows = [
        {"id": str(number), "prompt": f"Please play number {number} for the people of {place}.", "completion": "play"}
        for number, place in enumerate(["Rome", "Bonn"] * 20)
    ]
    careless = Slice(name="careless", noise="fragments", rows=1)
    bonn = Slice(name="bonn", pattern="Bonn")
    nowhere = Slice(name="nowhere", pattern="Oslo")

    chosen = pairs.choose_rows(rows, [careless, bonn], 12, 0)
    assert len({row["id"] for row in chosen}) == 12
    assert sum("for the people of" in row["prompt"] for row in chosen) == 9, "three are said in fragments"
    assert all("Bonn" in row["prompt"] for row in chosen[3:6])
    assert pairs.choose_rows(rows, [careless, bonn], 12, 0) == chosen
    assert len(pairs.choose_rows(rows, [nowhere], 12, 0)) == 12, "no row of the slice: all from the others"


def test_pairs_are_the_policys_own_words(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    patient = recipe.model_copy(update={"num_train_epochs": 30})
    policy = sft.train(base, data(20), None, SFTSpec(method="full"), patient, Workspace(tmp_path)).result.model
    spec = AlignSpec(prompts=12, samples=4, temperature=1.0, min_margin=0.05)

    done = pairs.make_pairs(
        policy, data(20), TaskSpec(kind="intent_slots"), spec, Workspace(tmp_path), max_new_tokens=40
    )

    result = done.result
    assert result.prompts == 12
    assert 0 < result.kept == result.pairs.rows == len(read(result.pairs)) == 12 - result.no_margin
    assert all(pair["margin"] >= 0.05 for pair in read(result.pairs))
    assert Path(result.pairs.uri).parent == done.folder


@pytest.fixture(scope="module")
def judge(base: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence classifier with one score and random weights, with the base's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    folder = tmp_path_factory.mktemp("judge")
    tokenizer = AutoTokenizer.from_pretrained(base.base)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=0, eos_token_id=1, **shape)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_reward_model_ranks_what_no_verifier_can(base: ModelRef, judge: Path, data: Any, tmp_path: Path) -> None:
    spec = AlignSpec(ranker="reward-model", ranker_model=judge.name, min_margin=0.0, prompts=4, samples=3)
    ranker = pairs.ranker_of(spec, judge.parent)
    given = job(model=base, train=data(20), kind="chat", ranker=ranker, prompts=4, samples=3, min_margin=0.0,
                max_new_tokens=6, partial=str(tmp_path), final=str(tmp_path))  # fmt: skip
    result = pairs.run(given)

    assert (result.ranked_by, result.prompts, result.samples, result.all_right) == ("reward model", 4, 3, 0)
    found = read(result.pairs)
    assert found
    for side in ("chosen", "rejected"):
        assert all(pair[side] for pair in found)
    again = scoring.rewards(
        judge, [("", pair["prompt"], pair[side]) for pair in found for side in ("chosen", "rejected")], 512
    )
    margins = again[:, 0].reshape(-1, 2) @ [1.0, -1.0]
    assert margins == pytest.approx([pair["margin"] for pair in found], abs=1e-4)
    assert min(margins) > 0


def test_who_cannot_rank_is_refused(base: ModelRef, data: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task\.kind chat: no verifier .* set align\.ranker: reward-model"):
        pairs.make_pairs(base, data(20), TaskSpec(kind="chat"), AlignSpec(), Workspace(tmp_path))
    spec = AlignSpec(ranker="reward-model", ranker_model="nowhere")
    with pytest.raises(ModelError, match=r"align\.ranker_model: folder .*nowhere does not exist"):
        pairs.ranker_of(spec, tmp_path)
    policy = AlignSpec(ranker="reward-model", ranker_model=base.base)
    with pytest.raises(ModelError, match=r"LlamaForCausalLM, not a sequence classifier; align\.ranker_model"):
        pairs.ranker_of(policy, tmp_path)
