"""Every end counts in the loss, though it pads; and a model trained on another end than its tokenizer's is saved so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef, file_digest
from posttrain.models.load import load_model, load_tokenizer
from posttrain.spec import SFTSpec
from posttrain.training import sft

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def job(model: ModelRef, rows: Any, method: Any, recipe: Any, folder: Path) -> sft.SFTJob:
    short = recipe.model_copy(update={"num_train_epochs": 1})
    made = sft.resolve(model, rows, None, SFTSpec(method=method), short)
    return made.model_copy(update={"partial": str(folder), "final": str(folder)})


@pytest.fixture
def padding_ends(base: ModelRef) -> Any:
    """A tokenizer with nothing to pad with but its end."""
    tokenizer = load_tokenizer(base)
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1
    return tokenizer


def test_sft_counts_every_end_though_it_pads(base: ModelRef, data: Any, padding_ends: Any, tmp_path: Path) -> None:
    from trl import SFTConfig, SFTTrainer

    rows, lengths, _ = sft.dataset(data(6), padding_ends, 256, None)
    assert len(set(lengths)) > 1, "some rows are padded"
    settings = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        report_to="none",
        max_length=None,
        completion_only_loss=True,
        activation_checkpointing=False,
    )
    trainer = SFTTrainer(load_model(base), settings, train_dataset=rows, processing_class=padding_ends)
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(6)])
    labels, inputs = batch["labels"], batch["input_ids"]
    assert (inputs == 1).sum() > 6, "padding and ends are the same token"
    assert (labels == 1).sum(dim=1).tolist() == [1] * 6, "one end a row counts, and no padding"


def test_pairs_count_every_end_though_it_pads(padding_ends: Any) -> None:
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from posttrain.training.rows import completion_ids, prompt_ids

    pairs = [
        {"prompt": "rain?", "chosen": "rain in oslo today", "rejected": "no"},
        {"prompt": "play it", "chosen": "play", "rejected": "weather in são paulo"},
    ]
    tokens = {side: completion_ids([pair[side] for pair in pairs], padding_ends) for side in ("chosen", "rejected")}
    rows = [
        {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
        for prompt, chosen, rejected in zip(prompt_ids(pairs, padding_ends), *tokens.values(), strict=True)
    ]
    batch = DataCollatorForPreference(pad_token_id=padding_ends.pad_token_id)(rows)
    ids, counted = batch["input_ids"], batch["completion_mask"].bool()
    assert (ids == 1).sum() > 4
    assert ((ids == 1) & counted).sum(dim=1).tolist() == [1, 1, 1, 1], "an end for each chosen and rejected answer"


@pytest.fixture
def chatml(base: ModelRef, tmp_path: Path) -> tuple[ModelRef, int]:
    """The tiny model with a ChatML template beside its own `<|end|>`, and the token that ends ChatML's answers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "chatml"
    shutil.copytree(base.base, folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}, replace_extra_special_tokens=False
    )
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    ref = ModelRef(base=str(folder), fingerprint=file_digest(folder / "model.safetensors"))
    return ref, len(tokenizer) - 1


def ends(folder: Path) -> Any:
    """What a saved generation configuration ends texts with."""
    return json.loads((folder / "generation_config.json").read_text())["eos_token_id"]


def test_a_base_whose_template_ends_otherwise_is_taught_and_saved_with_that_end(
    chatml: tuple[ModelRef, int], data: Any, recipe: Any, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    model, end = chatml
    result = sft.run(job(model, data(8), "full", recipe, tmp_path))

    (note,) = result.notes
    assert "ends an answer with <|im_end|>, the tokenizer a text with <|end|>" in note
    product = Path(result.model.base)
    assert ends(product) == [end, 1]
    assert json.loads((product / "config.json").read_text())["eos_token_id"] == end
    assert AutoTokenizer.from_pretrained(product).eos_token_id == end


def test_an_adapter_and_what_it_is_merged_into_tell_where_texts_end(
    chatml: tuple[ModelRef, int], data: Any, recipe: Any, tmp_path: Path
) -> None:
    from posttrain.training import trainer

    model, end = chatml
    tuned = sft.run(job(model, data(8), "lora", recipe, tmp_path)).model
    assert ends(Path(str(tuned.adapter))) == [end, 1]
    again = tmp_path / "again"
    again.mkdir()
    trainer.load_policy(job(tuned, data(8), "lora", recipe, again))
    assert ends(again / "base") == [end, 1], "the merged base, on which the next adapter stands"
