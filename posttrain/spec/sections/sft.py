"""`sft`: supervised fine-tuning. Names are TRL's; an empty value is the recipe's."""

from __future__ import annotations

from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class SFTSpec(Frozen):
    """Supervised fine-tuning on response tokens; an empty value is chosen by the recipe, which says why."""

    method: Literal["full", "lora"] = setting(
        "lora", "Train every weight, or low-rank adapters (about 0.5 % of the weights).", source="S3"
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
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = setting(
        "cosine", "How the rate falls after warm-up.", source="transformers"
    )
    weight_decay: float = setting(0.0, "Of the optimizer, decoupled.", source="TRL", ge=0, lt=1)
    max_grad_norm: float = setting(1.0, "Gradients are clipped to this norm.", source="TRL", gt=0)
    lora_rank: int = setting(64, "Rank of the adapters.", source="S3", ge=1)
    lora_alpha: int = setting(16, "Adapters are scaled by alpha / rank.", source="S3", ge=1)
    lora_targets: Literal["attention", "all-linear"] = setting("attention", "Which layers get adapters.", source="S3")
    lora_dropout: float = setting(0.0, "Dropout on the adapters' input.", source="PEFT", ge=0, lt=1)
    save_steps: int | None = setting(
        None,
        "Updates between checkpoints; empty: every 60 s or sixth of the training, whichever comes first.",
        source="this project",
        ge=1,
    )
    bf16: bool | None = setting(None, "Train in bfloat16; empty: where the hardware has it.", source="transformers")
    seed: int = setting(0, "Decides order and initial adapters.", ge=0)
