"""A real tiny Llama with random weights and a real tokenizer, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from posttrain.models.tiny.pretrain import train_tokenizer

    folder: Path = tmp_path_factory.mktemp("tiny")
    texts = ["play the last song by Sade", "will it rain in Paris tomorrow", '{"intent": "GetWeather", "slots": {}}']
    tokenizer = train_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    # Weights of this size make each answer depend on all of its prompt.
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = True
    model.generation_config.temperature = 3.0
    model.generation_config.top_k = 7
    model.save_pretrained(folder)
    return ModelRef(base=str(folder), fingerprint="tiny")


@pytest.fixture(scope="session")
def loaded(tiny: ModelRef) -> tuple[Any, Any]:
    from posttrain.models.load import load_model, load_tokenizer

    return load_model(tiny, device="cpu"), load_tokenizer(tiny)
