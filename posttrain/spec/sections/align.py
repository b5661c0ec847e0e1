"""`align`: after SFT, towards what is preferred: on pairs that the model itself makes, or on rewards of its answers."""

from __future__ import annotations

from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.spec.field import section, setting
from posttrain.spec.sections.online import OnlineSpec


class AlignSpec(Frozen):
    """DPO on pairs sampled from the model and ranked by the task's own verifier, or PPO, GRPO, RLOO on its rewards."""

    method: Literal["dpo", "ppo", "grpo", "rloo"] = setting(
        "dpo",
        "DPO learns from pairs and stands in for PPO where hardware or time is short; ppo, grpo and rloo from rewards.",
        source="S3",
    )
    beta: float = setting(0.1, "Pull towards the model before DPO; higher stays closer.", source="TRL", gt=0)
    learning_rate: float | None = setting(
        None, "Peak rate; empty: a tenth or less of SFT's.", source="S3, recipe", gt=0, le=1
    )
    num_train_epochs: float = setting(
        1, "Passes over the pairs; more overfits them.", source="this project", gt=0, le=100
    )
    batch_size: int | None = setting(None, "Pairs to an update; empty: recipe.", source="recipe", ge=1)
    prompts: int = setting(600, "Training prompts that are sampled.", ge=1)
    samples: int = setting(8, "Answers sampled for a prompt (K); best and worst make the pair.", source="S1", ge=2)
    temperature: float = setting(0.9, "Of sampling; without variety there are no pairs.", gt=0, le=5)
    top_p: float = setting(1.0, "Nucleus of sampling.", source="transformers", gt=0, le=1)
    min_margin: float = setting(0.1, "A pair is kept when best minus worst score is at least this.", ge=0)
    sft_weight: float | None = setting(
        None,
        "Weight of the chosen answer's likelihood beside DPO's loss; keeps its probability up.",
        source="RPO (arXiv 2404.19733)",
        ge=0,
    )
    max_length: int = setting(512, "Tokens of prompt and completion together.", ge=8)
    seed: int = setting(0, "Of sampling and training.", ge=0)
    online: OnlineSpec = section(OnlineSpec, "PPO, GRPO and RLOO.")
