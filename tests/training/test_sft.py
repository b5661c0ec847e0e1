"""SFT on a random tiny model: what it is trained on, that it learns, and that it says when it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef, Workspace
from posttrain.errors import DataError, TrainingDiverged
from posttrain.models.load import load_model, load_tokenizer
from posttrain.spec import SFTSpec
from posttrain.training import sft

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

FULL = SFTSpec(method="full")


def here(job: sft.SFTJob, folder: Path) -> sft.SFTJob:
    return job.model_copy(update={"partial": str(folder), "final": str(folder)})


def test_a_row_is_the_prompt_of_evaluation_then_the_completion_then_one_end(base: ModelRef, data: Any) -> None:
    from posttrain.evaluation.generate import token_ids
    from posttrain.prompts import messages
    from posttrain.training.rows import read

    tokenizer = load_tokenizer(base)
    rows, lengths, _ = sft.dataset(data(20), tokenizer, 256, None)

    for source, row, length in zip(read(data(20)), rows, lengths, strict=True):
        asked = token_ids(tokenizer, messages("", source["prompt"]))
        trained = [token for token, read in zip(row["input_ids"], row["completion_mask"], strict=True) if read]
        assert row["input_ids"][: len(asked)] == asked
        assert row["completion_mask"] == [0] * len(asked) + [1] * (length - len(asked))
        assert tokenizer.decode(trained) == source["completion"] + "<|end|>"
        assert trained.count(tokenizer.eos_token_id) == 1
        whole = messages("", source["prompt"], source["completion"])
        assert row["input_ids"] == token_ids(tokenizer, whole, ask=False)


def test_trl_makes_the_same_labels_from_the_text_itself(base: ModelRef, data: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from posttrain.training.rows import read

    tokenizer = load_tokenizer(base)
    texts = [
        {"prompt": [{"role": "user", "content": row["prompt"]}],
         "completion": [{"role": "assistant", "content": row["completion"]}]}
        for row in read(data(20))
    ]  # fmt: skip
    settings = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        report_to="none",
        dataloader_pin_memory=False,
        completion_only_loss=True,
        activation_checkpointing=False,
    )

    def labels(rows: Dataset) -> list[list[int]]:
        trainer = SFTTrainer(load_model(base), settings, train_dataset=rows, processing_class=tokenizer)
        return [row["labels"] for row in trainer.train_dataset]

    ours, _, _ = sft.dataset(data(20), tokenizer, 256, None)
    assert labels(ours) == labels(Dataset.from_list(texts))


def test_it_learns_and_the_product_loads_back(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    patient = recipe.model_copy(update={"num_train_epochs": 20})

    done = sft.train(base, data(20), data(10), FULL, patient, Workspace(tmp_path))

    result = done.result
    assert result.curve[0].metrics["loss"] > 4 > 1.2 > result.metrics["eval_loss"]
    assert (result.rows, result.steps, result.restarts) == (20, 60, 0)
    assert load_model(result.model).num_parameters() == load_model(base).num_parameters()
    assert Path(result.model.base).parent == done.folder
    assert not (done.folder / "checkpoints").exists()
    assert sft.train(base, data(20), data(10), FULL, patient, Workspace(tmp_path)).reused


def test_an_adapter_loads_back_onto_its_base(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    import torch

    spec = SFTSpec(method="lora", lora_rank=8, lora_alpha=16, learning_rate=1e-2)
    job = sft.resolve(base, data(20), data(10), spec, recipe)

    result = sft.run(here(job, tmp_path))

    ids = torch.arange(5, 15)[None]
    assert result.model.base == base.base
    assert not torch.allclose(load_model(result.model)(ids).logits, load_model(base)(ids).logits, atol=1e-3)
    assert result.curve[0].metrics["loss"] > result.metrics["loss"]


def test_a_split_batch_takes_the_same_steps(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    losses = []
    for micro in (8, 2):
        folder = tmp_path / str(micro)
        folder.mkdir()
        whole = sft.resolve(base, data(20), None, FULL, recipe)
        result = sft.run(here(whole.model_copy(update={"micro_batch_size": micro}), folder))
        losses.append([point.metrics["loss"] for point in result.curve])

    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_rows_too_long_are_counted_and_written_down(base: ModelRef, data: Any, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    _, lengths, _ = sft.dataset(data(20), tokenizer, 256, None)
    limit = sorted(lengths)[12]

    kept, _, excluded = sft.dataset(data(20), tokenizer, limit, tmp_path / "excluded.jsonl")

    notes = [json.loads(line) for line in (tmp_path / "excluded.jsonl").read_text().splitlines()]
    assert len(kept) + excluded == 20
    assert excluded == len(notes) == sum(length > limit for length in lengths) > 0
    assert f"more than max_length {limit}" in notes[0]["reason"]
    with pytest.raises(DataError, match="no row left to train on"):
        sft.dataset(data(20), tokenizer, 3, None)


def test_divergence_names_step_and_rate(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    wild = sft.resolve(base, data(20), None, FULL, recipe).model_copy(
        update={"learning_rate": 1e30, "warmup_ratio": 0.0, "max_grad_norm": 1e9}
    )
    with pytest.raises(TrainingDiverged, match=r"at step \d of 6 .*learning_rate: 1e\+30"):
        sft.run(here(wild, tmp_path))


def test_the_cpu_head_gives_what_trl_gives(base: ModelRef, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from trl.trainer.utils import add_fused_lm_head

    from posttrain.training.head import score_completions_only

    ids = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :5] = -100
    labels[1, 9:] = -100
    outcomes = []
    for ours in (False, True):
        model = load_model(base)
        add_fused_lm_head(model, outputs=("log_probs", "is_top1"))
        if ours:
            score_completions_only(model)
        output = model(input_ids=ids, labels=labels, fused_lm_head=True)
        output.log_probs.sum().backward()
        outcomes.append((output, model.get_input_embeddings().weight.grad))

    (theirs, gradient), (mine, my_gradient) = outcomes
    assert torch.allclose(mine.log_probs, theirs.log_probs, atol=1e-5)
    assert torch.equal(mine.label_mask, theirs.label_mask)
    assert torch.equal(mine.is_top1, theirs.is_top1)
    assert torch.allclose(my_gradient, gradient, atol=1e-5)
