"""Rows one behind the other are learnt as rows by themselves are, and padding is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef
from posttrain.errors import SpecError
from posttrain.models.load import load_model, load_tokenizer
from posttrain.spec import SFTSpec
from posttrain.training import packing, sft
from posttrain.training.order import order, padding_waste

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_loss_of_packed_rows_is_that_of_padded_ones(base: ModelRef, data: Any, attention: str) -> None:
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
    from trl.trainer.utils import add_fused_lm_head

    tokenizer, model = load_tokenizer(base), load_model(base)
    model.set_attn_implementation(attention)
    add_fused_lm_head(model)
    rows, _, _ = sft.dataset(data(20), tokenizer, 256, None)
    packs, lengths = packing.packed(rows, 96)
    padded = DataCollatorForLanguageModeling(pad_token_id=0)(list(packing.labelled(rows)))
    flat = [DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([pack]) for pack in packs]

    with torch.no_grad():
        apart, *behind = (model(**each, use_cache=False, fused_lm_head=True) for each in (padded, *flat))

    assert len(packs) < 20
    assert max(lengths) <= 96
    assert sum(lengths) == padded["attention_mask"].sum()
    assert sum(each.label_mask.sum() for each in behind) == apart.label_mask.sum()
    assert sum(each.log_probs.sum() for each in behind).item() == pytest.approx(apart.log_probs.sum().item(), rel=1e-5)


def test_training_on_packs_takes_the_same_steps(base: ModelRef, data: Any, recipe: Any, tmp_path: Path) -> None:
    curves = []
    for packs in (False, True):
        folder = tmp_path / str(packs)
        folder.mkdir()
        spec = SFTSpec(method="full", batch_size=20, num_train_epochs=3, max_length=96, packing=packs)
        job = sft.resolve(base, data(20), data(10), spec, recipe)
        result = sft.run(job.model_copy(update={"partial": str(folder), "final": str(folder)}))
        losses = [value for point in result.curve for name, value in point.metrics.items() if name.endswith("loss")]
        assert (result.rows, result.steps, result.recipe["batch_size"], len(losses)) == (20, 3, 20, 6)
        assert (result.metrics["padding_waste"] == 0) is packs
        curves.append(losses)

    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_a_model_that_lets_rows_see_each_other_is_refused(base: ModelRef, data: Any, recipe: Any) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("opt", vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                  ffn_dim=32, word_embed_proj_dim=32, bos_token_id=2)  # fmt: skip
    job = sft.resolve(base, data(20), None, SFTSpec(packing=True), recipe)
    packing.prepare(job, load_model(base))
    with pytest.raises(SpecError, match="a model of type opt does not keep packed rows apart"):
        packing.prepare(job, AutoModelForCausalLM.from_config(config))


def test_padding_is_what_micro_batches_are_longer_than_their_rows() -> None:
    lengths = [4, 1, 4, 3]
    # Batches of two rows of like length, [1, 3] and [4, 4]: of 3 + 3 + 4 + 4 tokens computed, 2 are padding.
    assert sorted(lengths[row] for row in order(lengths, 2, 0, 0)[:2]) == [4, 4]
    assert padding_waste(lengths, 2, 2, 0, 1) == pytest.approx(2 / 14)
    assert padding_waste(lengths, 2, 1, 0, 2) == 0
    assert padding_waste(lengths, 4, 4, 0, 3) == pytest.approx(4 / 16)


def test_padding_free_is_refused_without_flash_attention(base: ModelRef, data: Any, recipe: Any) -> None:
    job = sft.resolve(base, data(20), None, SFTSpec(padding_free=True), recipe)
    with pytest.raises(SpecError, match=r"sft\.padding_free: needs a CUDA GPU, bf16 and flash attention"):
        packing.prepare(job, load_model(base))
