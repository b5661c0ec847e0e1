"""A language model's body under a head of one score: what a reward model starts as.

Knows nothing of training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from posttrain.artifacts import ModelRef
from posttrain.errors import ModelError
from posttrain.models.load import load_model, quiet

ONE_SCORE = 1


def is_classifier(ref: ModelRef) -> bool:
    """Whether the model is a sequence classifier already, by its `config.json`."""
    config = json.loads((Path(ref.base) / "config.json").read_text(encoding="utf-8"))
    return "".join(config.get("architectures") or []).endswith("ForSequenceClassification")


def load_classifier(ref: ModelRef, seed: int, attention: str | None = None, dtype: Any = None) -> Any:
    """A sequence classifier of one score, in training mode: an older reward model as it is, or a language model's body
    (its adapter merged) under a new head, drawn from `seed`.

    `attention` is transformers' name of an implementation, `dtype` float32 unless given. Raises: `ModelError`.
    """
    import torch

    place = "cuda" if torch.cuda.is_available() else "cpu"
    model = _older(ref, dtype or torch.float32) if is_classifier(ref) else _headed(ref, seed, dtype)
    if attention:
        model.set_attn_implementation(attention)
    return model.to(place).train()


def _older(ref: ModelRef, dtype: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    try:
        with quiet():
            model = AutoModelForSequenceClassification.from_pretrained(
                ref.base, dtype=dtype, use_safetensors=True, trust_remote_code=ref.trust_remote_code
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{ref.base}: cannot be loaded: {text[:300]}") from error
    if model.config.num_labels != ONE_SCORE:
        raise ModelError(f"{ref.base}: has {model.config.num_labels} labels, expected one score; name another model")
    return model


def _headed(ref: ModelRef, seed: int, dtype: Any) -> Any:
    """The body is moved over, not copied or read again: nothing is loaded that is thrown away."""
    import torch
    from transformers import AutoModelForSequenceClassification

    language_model = load_model(ref, dtype=dtype, device="cpu", merge=True)
    config = language_model.config
    config.num_labels = ONE_SCORE
    try:
        with torch.device("meta"), quiet():
            model: Any = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ModelError(
            f"{ref.base}: transformers knows no sequence classifier of its architecture ({config.model_type}); name "
            "another model in reward_model.model"
        ) from error
    prefix = language_model.base_model_prefix
    setattr(model, prefix, getattr(language_model, prefix))
    generator = torch.Generator().manual_seed(seed)
    for name, head in model.named_children():
        if name != prefix:
            head.to_empty(device="cpu")
            for parameter in head.parameters():
                drawn = torch.empty(parameter.shape).normal_(0, config.initializer_range, generator=generator)
                parameter.data = drawn.to(language_model.dtype)
    return model
