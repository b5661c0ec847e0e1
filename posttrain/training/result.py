"""What a training stage hands on: small, frozen, JSON-serialisable. Knows nothing of how it came about."""

from __future__ import annotations

from pydantic import Field

from posttrain.artifacts import DatasetRef, Frozen, ModelRef
from posttrain.training.guards.finding import Finding


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
    notes: tuple[str, ...] = Field(
        default=(), description="What was mended of chat template and tokenizer, a line each."
    )
    guards: tuple[Finding, ...] = Field((), description="What guards found: roll-backs first, then warnings by step.")


class PairsResult(Frozen):
    """Preference pairs: columns id, system, prompt, chosen, rejected, margin; what was set aside, and figures.

    Where people judged single answers and KTO learns from them, `pairs` has the columns id, system, prompt, completion,
    label instead: the good ones then count as chosen, the bad ones as rejected, and there is no overlap.
    """

    pairs: DatasetRef
    set_aside: DatasetRef = Field(description="Pairs that a filter set aside, with `rule` and `value`.")
    ranked_by: str = Field(description='Who preferred: "verifier", "reward model", "people", "ratings", "labels".')
    prompts: int = Field(description="Prompts that have answers.")
    samples: int = Field(description="Samples a prompt (K), where the policy made them; else 0.")
    single: bool = Field(False, description="Whether these are single answers, which only KTO learns from.")
    kept: int = Field(description="Pairs (or single answers) that are learned from.")
    dropped: dict[str, int] = Field({}, description="Rule → pairs that it set aside.")
    no_margin: int = Field(0, description="Prompts whose best and worst answer were (nearly) equally good.")
    all_right: int = Field(0, description="Of those without margin: prompts whose samples were all right.")
    none_right: int = Field(0, description="Prompts without a single right sample, pair or no pair.")
    mean_reward: float = Field(0.0, description="Mean over all samples: 0 to 1, or in a reward model's unit.")
    mean_margin: float = Field(description="Mean margin of the kept pairs, in the unit of the score.")
    chosen_characters: float = Field(description="Mean length of a chosen completion.")
    rejected_characters: float = Field(description="Mean length of a rejected completion.")
    chosen_longer: float = Field(0.5, description="Share of kept pairs of unequal length whose chosen is the longer.")
    overlap: float = Field(0.0, description="Mean ROUGE-L of chosen and rejected, 0 to 1: 1 is the same words.")
    seconds: float

    @property
    def words(self) -> str:
        """The pairs in one or two sentences, for people."""
        gone = ", ".join(f"{count:,} {rule.replace('_', ' ')}" for rule, count in self.dropped.items())
        if self.single:
            lengths = f"{self.chosen_characters:,.0f} characters the good ones, {self.rejected_characters:,.0f} the bad"
            return f"{self.kept:,} single answers, good or bad by {self.ranked_by}: {lengths}."
        return (
            f"{self.kept:,} pairs, ranked by {self.ranked_by}: {self.chosen_characters:,.0f} characters chosen, "
            f"{self.rejected_characters:,.0f} rejected, chosen the longer in {self.chosen_longer:.0%} of those of "
            f"unequal length, overlap (ROUGE-L) {self.overlap:.2f}. Set aside: {gone or 'none'}."
        )
