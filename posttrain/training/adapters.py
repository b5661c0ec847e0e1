"""What is trained in place of the base's own weights, by method; and keeping the whole of it in checkpoints.

Knows PEFT and the job; nothing of losses, rows or trainers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from posttrain.artifacts import sync
from posttrain.errors import ModelError
from posttrain.spec.methods import merges
from posttrain.training.job import TrainingJob


def config(job: TrainingJob, model: Any) -> Any:
    """PEFT's configuration of the adapter that the job asks for, or None for full fine-tuning. Raises: ModelError."""
    match job.method:
        case "full":
            return None
        case "lora" | "dora" | "qlora":
            return _low_rank(job, model)
        case "ia3":
            return _ia3(model)
        case "prefix" | "prompt" | "p-tuning":
            return _virtual_tokens(job)


def _low_rank(job: TrainingJob, model: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=job.lora_rank,
        lora_alpha=job.lora_alpha,
        lora_dropout=job.lora_dropout,
        use_dora=job.method == "dora",
        target_modules="all-linear" if job.lora_targets == "all-linear" else attention_modules(model),
        task_type="CAUSAL_LM",
    )


def attention_modules(model: Any) -> list[str]:
    """Names of the linear layers inside attention blocks, whatever the architecture calls them."""
    names = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "attn" in name.lower().replace("attention", "attn")
    }
    return sorted(names)


def _ia3(model: Any) -> Any:
    """Scales of keys, values and inner activations, where PEFT knows what the architecture calls them."""
    from peft import IA3Config
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN

    kind = model.config.get_text_config().model_type
    if kind not in KNOWN:
        raise ModelError(
            f"sft.method: found ia3, for which PEFT does not know the layers of models of type {kind}; use method: lora"
        )
    return IA3Config(task_type="CAUSAL_LM")


def _virtual_tokens(job: TrainingJob) -> Any:
    from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

    shape: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": job.num_virtual_tokens}
    if job.encoder_hidden_size:
        shape["encoder_hidden_size"] = job.encoder_hidden_size
    if job.method == "prefix":
        return PrefixTuningConfig(**shape, prefix_projection=job.prefix_projection)
    if job.method == "p-tuning":
        return PromptEncoderConfig(**shape)
    if job.prompt_tuning_init_text is None:
        return PromptTuningConfig(**shape, prompt_tuning_init="SAMPLE_VOCAB")
    return PromptTuningConfig(
        **shape,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text=job.prompt_tuning_init_text,
        tokenizer_name_or_path=job.model.base,
    )


def room(job: TrainingJob, model: Any) -> int:
    """Tokens that a row may have: `max_length`, or less where virtual tokens take up some of the model's context."""
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is None or merges(job.method):
        return job.max_length
    return min(job.max_length, int(context) - job.num_virtual_tokens)


# --- what training moves, on disk --------------------------------------------------------------------------


def is_virtual(model: Any) -> bool:
    """Whether the model is PEFT's with virtual tokens."""
    return hasattr(model, "peft_config") and bool(model.active_peft_config.is_prompt_learning)


def save_trained(model: Any, file: Path) -> None:
    """Write every weight that training moves as safetensors; the file appears whole or not at all."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}")
    save_file({name: weight.detach().cpu().contiguous() for name, weight in _trained(model).items()}, aside)
    sync(aside)
    aside.replace(file)
    sync(file.parent)


def load_trained(model: Any, file: Path) -> None:
    """Put the weights that `save_trained` wrote back into their places."""
    from safetensors.torch import load_file

    kept = load_file(file)
    with torch.no_grad():
        for name, weight in _trained(model).items():
            weight.copy_(kept[name])


def _trained(model: Any) -> Mapping[str, torch.nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
