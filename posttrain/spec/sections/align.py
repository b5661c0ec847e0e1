"""`align`: towards what is preferred: on pairs that people give or the model makes, or on rewards of its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import section, setting
from posttrain.spec.sections.length_bias import LengthBiasSpec
from posttrain.spec.sections.online import OnlineSpec

Method = Literal["dpo", "ipo", "kto", "orpo", "ppo", "grpo", "rloo"]
ONLINE = ("ppo", "grpo", "rloo")
"""Methods that learn from rewards of the model's own answers, not from pairs."""


class AlignSpec(Frozen):
    """Preference optimisation by one of several methods, on pairs of people's or the model's, or on rewards."""

    method: Method = setting(
        "dpo",
        "dpo stands in for PPO where hardware or time is short; ipo does not overfit pairs that are always won; kto "
        "takes single answers, good or bad; orpo needs no reference and no SFT before it. ppo, grpo and rloo learn "
        "from rewards (align.online).",
        source="S3; arXiv 2305.18290, 2310.12036, 2402.01306, 2403.07691, 1707.06347, 2402.03300, 2402.14740",
    )
    beta: float = setting(
        0.1,
        "Pull towards the model before; higher stays closer (dpo, ipo, kto). For orpo the weight of the odds ratio.",
        source="TRL",
        gt=0,
    )
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
    ranker: Literal["verifier", "reward-model"] = setting(
        "verifier",
        "Who ranks sampled answers: the task's own verifier, or a reward model, which chat needs.",
        source="S1, S4",
    )
    ranker_model: str | None = setting(
        None,
        "The reward model that ranks: folder or Hugging Face id of a sequence classifier with one score.",
        source="the user",
    )
    min_margin: float = setting(
        0.1,
        "A sampled pair is kept when best minus worst score is at least this: 0 to 1 for the verifier, in a reward "
        "model's own unit else.",
        ge=0,
    )
    min_rating_margin: float = setting(
        0.5, "Two rated answers make a pair when their mean ratings differ by at least this, in points.", ge=0
    )
    desirable_rating: float = setting(
        4.0, "kto: an answer with this mean rating or more is good, one with less is bad.", source="S3"
    )
    pairs_per_prompt: int = setting(
        1,
        "Pairs made of a prompt's sampled or rated answers: best against worst, then those of the next margins.",
        ge=1,
    )
    length_bias: LengthBiasSpec = section(LengthBiasSpec, "So that the model does not learn that longer is better.")
    sft_weight: float | None = setting(
        None,
        "Weight of the chosen answer's likelihood beside the loss of dpo or ipo; keeps its probability up.",
        source="RPO (arXiv 2404.19733)",
        ge=0,
    )
    length_normalized: bool = setting(
        False, "dpo: log-ratios a token, so that long answers weigh no more (sigmoid_norm).", source="TRL"
    )
    max_length: int = setting(512, "Tokens of prompt and completion together.", ge=8)
    seed: int = setting(0, "Of sampling and training.", ge=0)
    online: OnlineSpec = section(OnlineSpec, "PPO, GRPO and RLOO.")

    @property
    def is_online(self) -> bool:
        """Whether the method learns from rewards."""
        return self.method in ONLINE

    @property
    def stage(self) -> str:
        """The name of the training stage: dpo for all that learn from pairs, else the method's."""
        return self.method if self.is_online else "dpo"

    @model_validator(mode="after")
    def _of_the_method(self) -> AlignSpec:
        if self.sft_weight and self.method not in ("dpo", "ipo"):
            raise ValueError(
                f"found sft_weight with method {self.method}, expected dpo or ipo; remove it: orpo learns the chosen "
                "answer anyway, kto has no pair to add it to"
            )
        if self.length_normalized and self.method != "dpo":
            raise ValueError(
                f"found length_normalized with method {self.method}, expected dpo; remove it: ipo and orpo count a "
                "token's mean anyway"
            )
        if self.ranker_model is not None and self.ranker != "reward-model":
            raise ValueError("found ranker_model with ranker verifier; set ranker: reward-model, or remove it")
        return self
