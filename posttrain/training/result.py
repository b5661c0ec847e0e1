"""What a training stage hands on: small, frozen, JSON-serialisable. Knows nothing of how it came about."""

from __future__ import annotations

from pydantic import Field

from posttrain.artifacts import DatasetRef, Frozen, ModelRef


class CurvePoint(Frozen):
    """Metrics at one optimizer step, under TRL's names (`loss`, `eval_loss`, `learning_rate`, `rewards/margins`)."""

    step: int
    metrics: dict[str, float]


class TrainResult(Frozen):
    """A trained model, and what it took."""

    model: ModelRef
    metrics: dict[str, float] = Field(description="The last of each metric; eval_loss is nats a completion token.")
    curve: tuple[CurvePoint, ...] = Field(description="In order of step, complete over restarts.")
    rows: int = Field(description="Rows trained on; rows_excluded in `metrics` counts those that were too long.")
    steps: int = Field(description="Optimizer steps.")
    seconds: float = Field(description="Wall time of the last try, model loading included.")
    peak_memory_bytes: int = Field(
        0, description="Of the last try: the process's on a CPU, what torch allocated on a GPU (of the first device)."
    )
    expected_memory_bytes: int = Field(
        0, description="What the estimate says of these rows and this model; 0: nothing."
    )
    restarts: int = Field(description="How often the training process had to start again.")
    micro_batch_size: int
    accumulation: int
    recipe: dict[str, str | float | int | bool | None] = Field(description="Every value that the training used.")


class PairsResult(Frozen):
    """Preference pairs that the policy made itself: columns id, system, prompt, chosen, rejected, margin."""

    pairs: DatasetRef
    prompts: int = Field(description="Prompts sampled from.")
    samples: int = Field(description="Samples a prompt (K).")
    kept: int = Field(description="Pairs with enough margin.")
    no_margin: int = Field(description="Prompts whose best and worst sample were (nearly) equally good.")
    all_right: int = Field(description="Of those without margin: prompts whose samples were all right.")
    none_right: int = Field(description="Prompts without a single right sample, pair or no pair.")
    mean_reward: float = Field(description="Mean over all samples, 0 to 1.")
    mean_margin: float = Field(description="Mean margin of the kept pairs, 0 to 1.")
    chosen_characters: float = Field(description="Mean length of a chosen completion.")
    rejected_characters: float = Field(description="Mean length of a rejected completion.")
    seconds: float
