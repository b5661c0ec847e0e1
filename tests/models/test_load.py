"""Which models are refused, in one line each, and that what is loaded is what was saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef, digest
from posttrain.errors import ModelError
from posttrain.models.load import check_folder, load_model, load_tokenizer, resolve
from posttrain.prompts import PLAIN_TEMPLATE
from posttrain.spec.sections.base import BaseSpec


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    from posttrain.models.tiny.pretrain import train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "llama"
    train_tokenizer(["play a song", "will it rain"]).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "llama"))


def base(model: str | Path, **more: Any) -> BaseSpec:
    return BaseSpec(model=str(model), **more)


def refusal(model: str | Path, root: Path | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        resolve(base(model), root)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_fingerprint_follows_the_content_not_the_place(saved: Path, folder: Path) -> None:
    first, copy = resolve(base(saved)), resolve(base("llama"), root=folder.parent)
    assert first.fingerprint == copy.fingerprint
    assert copy.base == str(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert resolve(base(folder)).fingerprint != first.fingerprint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "models/none/here does not exist" in refusal("models/none/here", tmp_path)


def test_a_file_is_no_model_folder(folder: Path) -> None:
    assert "is a file" in refusal(folder / "config.json")


def test_a_folder_without_config_or_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in refusal(folder)
    (folder / "config.json").unlink()
    assert "no config.json" in refusal(folder)
    (folder / "adapter_config.json").write_text("{}")
    assert "is a PEFT adapter" in refusal(folder)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "no weights" in refusal(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickle form (pytorch_model.bin)" in refusal(folder)
    assert "convert them to safetensors" in refusal(folder)


@pytest.mark.parametrize("kept", [0, 7, 100, -1], ids=["empty", "no header", "half a header", "last byte gone"])
def test_damaged_weights_are_refused(folder: Path, kept: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "model.safetensors is damaged or cut short" in refusal(folder)


def test_a_pointer_of_git_lfs_is_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    assert "damaged" in refusal(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks model-00002-of-00002.safetensors (1 of 2" in refusal(folder)


def test_a_broken_config_is_named(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert "config.json: is not readable as JSON" in refusal(folder)


def test_code_that_comes_with_a_model_runs_only_when_allowed(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoConfig": "configuration.X"}}))
    assert "base.trust_remote_code: true" in refusal(folder)
    check_folder(folder, trust_remote_code=True)


def test_an_id_that_is_not_cached_is_refused_at_once_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    text = refusal("nobody/no-such-model")
    assert "'nobody/no-such-model' is neither a folder nor in the local Hugging Face cache" in text


def test_loading_gives_full_precision_and_keeps_the_terminal_clean(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    ref = resolve(base(folder))
    model, tokenizer = load_model(ref, device="cpu"), load_tokenizer(ref)
    assert next(model.parameters()).dtype == torch.float32
    assert not model.training
    assert tokenizer.decode(tokenizer("play a song")["input_ids"]) == "play a song"
    assert capfd.readouterr() == ("", "")


def test_a_tokenizer_without_template_or_padding_gets_both(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(resolve(base(folder)))
    assert tokenizer.chat_template == PLAIN_TEMPLATE
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|end|>", "<|pad|>"), "no end pads"


def test_an_unknown_architecture_is_a_one_line_error(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "nothing_known"}')
    with pytest.raises(ModelError) as caught:
        load_model(resolve(base(folder)), device="cpu")
    assert "nothing_known" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21, on transformers 5
def test_an_adapter_changes_the_model_and_merges_into_the_same(folder: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    ref = resolve(base(folder))
    ids = torch.tensor([[5, 6, 7]])
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(load_model(ref, device="cpu"), config).save_pretrained(tmp_path / "adapter")
    adapted = ModelRef(base=ref.base, adapter=str(tmp_path / "adapter"), fingerprint=digest("x"))
    with torch.inference_mode():
        plain = load_model(ref, device="cpu")(ids).logits
        apart = load_model(adapted, device="cpu")(ids).logits
        merged = load_model(adapted, device="cpu", merge=True)(ids).logits
    assert not torch.allclose(plain, apart, atol=1e-4)
    assert torch.allclose(apart, merged, atol=1e-5)
    assert any(p.requires_grad for p in load_model(adapted, device="cpu", trainable=True).parameters())
    (tmp_path / "adapter/adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors"):
        load_model(adapted, device="cpu")
