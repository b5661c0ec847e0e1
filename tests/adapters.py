"""A LoRA adapter with random weights, for tests of what becomes of adapters: merged, registered, exported."""

from __future__ import annotations

from pathlib import Path

from posttrain.artifacts import ModelRef
from posttrain.models.load import load_model


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
