"""A small Llama and a LoRA adapter, both random, for tests of what becomes of adapters: merged, kept, exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posttrain.artifacts import ModelRef
from posttrain.models.load import load_model


def random_llama(folder: Path, texts: Sequence[str]) -> Path:
    """Two layers of width 64 with weights large enough to matter, and a tokenizer trained on `texts`, in `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from posttrain.models.tiny.pretrain import train_tokenizer

    tokenizer = train_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=1, initializer_range=0.3, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def with_adapter(base: str | Path, folder: Path, strength: float = 0.3) -> ModelRef:
    """`base` with an adapter in `folder`; with a `strength` of 0 it changes nothing."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = load_model(ModelRef(base=str(base), fingerprint=""), device="cpu")
    lora = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "o_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in lora.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=strength)
    lora.save_pretrained(folder)
    return ModelRef(base=str(base), adapter=str(folder), fingerprint="1234567812345678")
