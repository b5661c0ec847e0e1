"""Perplexity counts the completion's tokens, and padding changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from posttrain.evaluation.perplexity import surprise

ROWS = [
    {"id": "a", "system": "", "prompt": "will it rain", "completion": "yes"},
    {"id": "b", "system": "Be brief.", "prompt": "play", "completion": "the last song by Sade in Paris tomorrow"},
    {"id": "long", "system": "", "prompt": "song " * 600, "completion": "x"},
]


def test_only_completion_tokens_count(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    found = surprise(model, tokenizer, ROWS)
    assert [row["id"] for row in found] == ["a", "b"], "a prompt that fills the context leaves nothing to measure"
    prompt = tokenizer("<|user|>will it rain<|assistant|>")["input_ids"]
    ids = tokenizer("<|user|>will it rain<|assistant|>yes<|end|>")["input_ids"]
    with torch.inference_mode():
        logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    by_hand = -sum(logs[place - 1, ids[place]].item() for place in range(len(prompt), len(ids)))
    assert found[0]["tokens"] == len(ids) - len(prompt)
    assert found[0]["negative_log_likelihood"] == pytest.approx(by_hand, rel=1e-5)


def test_batching_changes_nothing(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    together = surprise(model, tokenizer, ROWS[:2], batch_size=2)
    alone = surprise(model, tokenizer, ROWS[:2], batch_size=1)
    for a, b in zip(together, alone, strict=True):
        assert a["negative_log_likelihood"] == pytest.approx(b["negative_log_likelihood"], rel=1e-5)
