"""`reward_model`: a model that says which of two answers people would prefer, learned from `data.preference`."""

from __future__ import annotations

from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class RewardModelSpec(Frozen):
    """A reward model, trained on people's pairs and gated on pairs of prompts that it has not seen."""

    model: str | None = setting(
        None,
        "Folder or Hugging Face id to start from, a language model or an older reward model; empty: the policy itself, "
        "as it is when alignment begins.",
        source="InstructGPT (arXiv 2203.02155)",
        min_length=1,
    )
    allow_larger: bool = setting(
        False,
        "Let it be larger than the policy. 7B with 7B is the most stable; 13B and 70B with 7B crash.",
        source="S3",
    )
    method: Literal["full", "lora"] | None = setting(
        None, "Train every weight, or adapters that are merged afterwards; empty: as in sft.", source="S3"
    )
    learning_rate: float | None = setting(
        None, "Peak rate; empty: SFT's for this size and method.", source="InstructGPT, recipe", gt=0, le=1
    )
    num_train_epochs: float = setting(
        1, "Passes over the pairs; a reward model overfits with more.", source="InstructGPT", gt=0, le=100
    )
    batch_size: int | None = setting(None, "Pairs to an update; empty: recipe.", source="recipe", ge=1)
    max_length: int = setting(512, "Tokens of prompt and answer together; longer pairs are reported.", ge=8)
    center_rewards_coefficient: float = setting(
        0.01, "Pull of the scores towards a mean of 0; 0: none.", source="TRL (arXiv 2312.09244)", ge=0
    )
    held_out: float = setting(
        0.2, "Share of the prompts whose pairs are kept for the gate, never trained on.", gt=0, lt=1
    )
    min_accuracy: float = setting(
        0.5,
        "The lower end of the 95 % interval of its accuracy on held-out pairs must be above this, or nothing may use "
        "it; 0.5 is a coin's.",
        ge=0.5,
        lt=1,
    )
    seed: int = setting(0, "Decides the split, the order and the new head's weights.", ge=0)
