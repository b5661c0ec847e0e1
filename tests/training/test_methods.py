"""Every way to fine-tune: it learns, and evaluation loads what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef
from posttrain.errors import SpecError
from posttrain.evaluation.engines import opened
from posttrain.evaluation.generate import answer, context_length, token_ids
from posttrain.evaluation.perplexity import surprise
from posttrain.models.load import has_virtual_tokens, load_model, load_tokenizer, saved_in
from posttrain.models.virtual import VirtualTokens
from posttrain.prompts import messages
from posttrain.spec import AlignSpec, SFTSpec
from posttrain.training import preference, sft
from posttrain.training.job import Recipe
from posttrain.training.rows import read
from tests.training.conftest import rows, write

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*(gradient_checkpointing|past_key_values).*:FutureWarning")

WAYS: dict[str, dict[str, Any]] = {
    "dora": {"method": "dora", "lora_rank": 4, "learning_rate": 1e-2},
    "ia3": {"method": "ia3", "learning_rate": 0.5},
    "prefix": {"method": "prefix", "num_virtual_tokens": 6, "learning_rate": 3e-2},
    "projected": {"method": "prefix", "num_virtual_tokens": 4, "prefix_projection": True, "encoder_hidden_size": 16},
    "prompt": {"method": "prompt", "num_virtual_tokens": 6, "learning_rate": 3e-2},
    "written": {"method": "prompt", "num_virtual_tokens": 6, "prompt_tuning_init_text": "play some weather"},
    "p-tuning": {"method": "p-tuning", "num_virtual_tokens": 6, "encoder_hidden_size": 32},
}


@pytest.fixture(scope="module", params=sorted(WAYS))
def trained(request: Any, base: ModelRef, data: Any, tmp_path_factory: Any) -> tuple[str, sft.SFTJob, Any]:
    """A product of each way, small and quickly made."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = Recipe(learning_rate=1e-2, num_train_epochs=4, batch_size=8, micro_batch_size=8, threads=1)
    job = sft.resolve(base, data(20), data(8), SFTSpec.model_validate(WAYS[request.param]), recipe)
    job = job.model_copy(update={"partial": str(folder), "final": str(folder)})
    return request.param, job, sft.run(job)


def test_it_learns_and_what_is_loaded_is_what_was_trained(trained: Any, base: ModelRef, data: Any) -> None:
    _, job, result = trained
    tokenizer = load_tokenizer(base)

    asked = surprise(load_model(result.model, merge=True), tokenizer, read(data(8)))

    assert result.metrics["eval_loss"] < result.curve[0].metrics["loss"] - 0.05
    total, tokens = (sum(row[name] for row in asked) for name in ("negative_log_likelihood", "tokens"))
    assert total / tokens == pytest.approx(result.metrics["eval_loss"], rel=1e-4)
    assert result.model.base == base.base
    assert result.recipe["method"] == job.method


def test_only_the_methods_own_settings_decide(trained: Any) -> None:
    way, job, _ = trained

    assert set(WAYS[way]) - {"learning_rate"} <= set(job.shape)
    foreign = {"num_virtual_tokens": 7} if way in ("dora", "ia3") else {"lora_rank": 7}
    other = {"lora_alpha": 3} if way == "dora" else {"num_virtual_tokens": 7} if way != "ia3" else {"method": "dora"}
    assert job.model_copy(update=foreign).deciding == job.deciding
    assert job.model_copy(update=other).deciding != job.deciding
    assert job.model_copy(update=other).shape != job.shape


def test_a_batch_is_answered_as_one_prompt_at_a_time_and_without_a_cache(trained: Any, base: ModelRef) -> None:
    import torch

    way, _, result = trained
    tokenizer, model = load_tokenizer(base), load_model(result.model, merge=True)
    asked = [messages("", text) for text in ("play track 3 by blur", "weather", "play something by nina simone please")]

    together, _ = answer(model, tokenizer, asked, max_new_tokens=6)

    assert together == [answer(model, tokenizer, [one], max_new_tokens=6)[0][0] for one in asked]
    ids = torch.tensor([token_ids(tokenizer, asked[0])])
    for _ in range(6):
        likeliest = model(input_ids=ids).logits[0, -1].argmax().view(1, 1)
        ids = torch.cat((ids, likeliest), dim=1)
        if likeliest.item() == tokenizer.eos_token_id:
            break
    written = ids[0, len(token_ids(tokenizer, asked[0])) :]
    assert together[0] == tokenizer.decode(written, skip_special_tokens=True)
    assert isinstance(model, VirtualTokens) == has_virtual_tokens(result.model) == (way not in ("dora", "ia3"))


def test_a_saved_product_stands_alone(trained: Any, base: ModelRef, tmp_path: Path) -> None:
    import torch

    _, job, result = trained
    model, ids = load_model(result.model, merge=True), torch.arange(5, 15)[None]
    model.save_pretrained(tmp_path / "model")
    load_tokenizer(base).save_pretrained(tmp_path / "model")

    again = saved_in(tmp_path / "model", result.model.fingerprint)

    assert torch.allclose(load_model(again, merge=True)(ids).logits, model(ids).logits, atol=1e-5)
    assert not torch.allclose(load_model(base)(ids).logits, model(ids).logits, atol=1e-3)
    room = job.num_virtual_tokens if has_virtual_tokens(again) else 0
    assert context_length(model) == 256 - room


@pytest.mark.parametrize("trained", ["prompt"], indirect=True)
def test_virtual_tokens_are_asked_by_transformers_alone(trained: Any, base: ModelRef) -> None:
    _, _, result = trained
    tokenizer = load_tokenizer(base)

    assert opened("auto", result.model, tokenizer, 4).name == "transformers"
    with pytest.raises(SpecError, match=r"found vllm, but .* has virtual tokens, which cannot be merged"):
        opened("vllm", result.model, tokenizer, 4)
    with pytest.raises(NotImplementedError):
        load_model(result.model, merge=True).generate_batch([[5]])


@pytest.mark.parametrize("trained", ["dora", "ia3"], indirect=True)
def test_dpo_starts_from_the_merged_product_and_trains_alike(trained: Any, tmp_path: Path) -> None:
    import torch

    _, job, result = trained
    made = [{"id": row["id"], "system": "", "prompt": row["prompt"], "chosen": row["completion"], "rejected": "never"}
            for row in rows(8)]  # fmt: skip
    recipe = Recipe(learning_rate=5e-3, num_train_epochs=1, batch_size=4, micro_batch_size=4)
    spec = SFTSpec.model_validate({"method": job.method})
    aligning = preference.resolve(result.model, write(made, tmp_path / "pairs.parquet"), AlignSpec(), spec, recipe)

    aligned = preference.run(aligning.model_copy(update={"partial": str(tmp_path), "final": str(tmp_path)}))

    ids = torch.arange(5, 15)[None]
    merged = load_model(ModelRef(base=aligned.model.base, fingerprint=""))
    assert torch.allclose(merged(ids).logits, load_model(result.model)(ids).logits, atol=1e-4)
    assert aligned.curve[0].metrics["rewards/margins"] == pytest.approx(0, abs=1e-4), "the reference is the product"
    assert aligned.recipe["method"] == job.method
    assert not torch.allclose(load_model(aligned.model)(ids).logits, merged(ids).logits, atol=1e-6)
