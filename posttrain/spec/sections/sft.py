"""`sft`: supervised fine-tuning. Names are TRL's; an empty value is the recipe's."""

from __future__ import annotations

from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting
from posttrain.spec.methods import Method


class SFTSpec(Frozen):
    """Supervised fine-tuning on response tokens; an empty value is chosen by the recipe, which says why."""

    method: Method = setting(
        "lora",
        "Train every weight (full), low-rank adapters (lora: about 0.5 % of the weights; dora; qlora, over a base in 4 "
        "bits), virtual tokens (prefix, prompt, p-tuning), or scales of keys, values and inner activations (ia3).",
        source="S3",
    )
    optimizer: Literal["adamw", "muon"] = setting(
        "adamw",
        "muon learns faster where the base was pre-trained with it, and not otherwise; for method full only.",
        source="TRL; arXiv 2502.16982, 2605.10468",
    )
    learning_rate: float | None = setting(
        None, "Peak rate; empty: by model size and method. Too low beats too high.", source="S3, recipe", gt=0, le=1
    )
    num_train_epochs: float | None = setting(
        None, "Passes over the rows; empty: by row count.", source="S2, recipe", gt=0, le=1000
    )
    batch_size: int | None = setting(
        None, "Rows to an update (micro-batch × accumulation); empty: recipe.", source="recipe", ge=1
    )
    micro_batch_size: int | None = setting(
        None, "Rows on the device at once; empty: what fits; halved when memory runs out.", source="recipe", ge=1
    )
    max_length: int = setting(512, "Tokens of prompt and completion together; longer rows are reported.", ge=8)
    warmup_ratio: float | None = setting(None, "Share of updates that warm up; empty: recipe.", source="S2", ge=0, lt=1)
    packing: bool = setting(
        False,
        "Put rows one behind the other up to max_length, kept apart, instead of padding them; refused for models that "
        "do not keep them apart.",
        source="TRL",
    )
    padding_free: bool = setting(
        False,
        "Put the rows of a micro-batch one behind the other; needs a CUDA GPU with flash attention.",
        source="TRL",
    )
    assistant_turns: Literal["all", "last"] = setting(
        "all", "Which of the assistant's turns in a conversation are learnt; the others are only read.", source="TRL"
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = setting(
        "cosine", "How the rate falls after warm-up.", source="transformers"
    )
    weight_decay: float = setting(0.0, "Of the optimizer, decoupled.", source="TRL", ge=0, lt=1)
    max_grad_norm: float = setting(1.0, "Gradients are clipped to this norm.", source="TRL", gt=0)
    lora_rank: int = setting(64, "Rank of the adapters.", source="S3", ge=1)
    lora_alpha: int = setting(16, "Adapters are scaled by alpha / rank.", source="S3", ge=1)
    lora_targets: Literal["attention", "all-linear"] = setting("attention", "Which layers get adapters.", source="S3")
    lora_dropout: float = setting(0.0, "Dropout on the adapters' input.", source="PEFT", ge=0, lt=1)
    num_virtual_tokens: int = setting(
        20, "Of prefix, prompt and p-tuning; more than 20 gain little.", source="arXiv 2104.08691", ge=1
    )
    prefix_projection: bool = setting(
        False, "Prefix: train the virtual tokens through a small network, which keeps them together.", source="PEFT"
    )
    encoder_hidden_size: int | None = setting(
        None, "Width of the network of p-tuning and of prefix_projection; empty: the model's.", source="PEFT", ge=1
    )
    prompt_tuning_init_text: str | None = setting(
        None,
        "Prompt: the words that the virtual tokens begin as; empty: words drawn from the vocabulary.",
        source="arXiv 2104.08691",
        min_length=1,
    )
    save_steps: int | None = setting(
        None,
        "Updates between checkpoints; empty: every 60 s or sixth of the training, whichever comes first.",
        source="this project",
        ge=1,
    )
    gradient_checkpointing: bool | None = setting(
        None,
        "Compute activations twice rather than keep them: a third more time, a fraction of the memory; empty: recipe.",
        source="transformers",
    )
    early_stopping_patience: int | None = setting(
        None,
        "End after so many epochs without a lower validation loss, and keep the weights of the lowest; empty: train to "
        "the end and keep the last.",
        source="S4, transformers",
        ge=1,
    )
    neftune_noise_alpha: float | None = setting(
        None, "Noise on the embeddings while training, 5 to 15; empty: none.", source="arXiv 2310.05914", gt=0
    )
    bf16: bool | None = setting(None, "Train in bfloat16; empty: where the hardware has it.", source="transformers")
    seed: int = setting(0, "Decides order and initial adapters.", ge=0)
