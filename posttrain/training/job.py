"""What a training process is told: every value resolved, nothing left to look up. Knows no trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field, model_validator

from posttrain.artifacts import DatasetRef, Frozen, ModelRef
from posttrain.models.hardware import Distribution, share
from posttrain.spec.methods import Method, foreign_settings, own_settings
from posttrain.spec.sections.guards import GuardsSpec
from posttrain.training.guards.easing import Ease

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, RewardModelSpec, SFTSpec

# These decide where and how fast, not what: they stay out of a stage's fingerprint. The number of threads and the
# split of the batch change the last bits of float sums, so both are recorded in the result.
NOT_IN_FINGERPRINT = frozenset(
    {"partial", "final", "micro_batch_size", "threads", "save_steps", "processes", "distribution", "device", "eased"}
)

# The modules that SFT and DPO share: their source is part of either stage's fingerprint, and nothing else's is.
CODE = (
    *(
        f"posttrain.training.{name}"
        for name in (
            "adapters",
            "best",
            "callbacks",
            "checkpoint",
            "head",
            "job",
            "muon",
            "order",
            "packing",
            "ranks",
            "rows",
            "trainer",
            "turns",
        )
    ),
    "posttrain.training.guards",
    "posttrain.prompts",
    "posttrain.models.load",
    "posttrain.spec.methods",
    "posttrain.models.template",
)


class Recipe(Frozen):
    """The values that a spec may leave open, resolved for this model, this data and this machine."""

    learning_rate: float = Field(gt=0)
    num_train_epochs: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    micro_batch_size: int = Field(ge=1)
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    bf16: bool = False
    gradient_checkpointing: bool = False
    threads: int = Field(1, ge=1, description="Of each process.")
    processes: int = Field(1, ge=1)
    distribution: Distribution = "none"


Job = TypeVar("Job", bound="TrainingJob")


class TrainingJob(Frozen):
    """One training, SFT or DPO; `train` holds its rows, `validation` (if any) is read for `eval_loss` only.

    `partial` is where the process works and leaves checkpoints, `final` where the folder will lie when published.
    """

    model: ModelRef
    train: DatasetRef
    validation: DatasetRef | None = None
    partial: str = Field("", description="Empty until the stage begins to work.")
    final: str = ""
    method: Method
    learning_rate: float
    num_train_epochs: float
    batch_size: int = Field(description="Rows an optimizer step: micro_batch_size × processes × accumulation.")
    micro_batch_size: int = Field(description="Rows that one process holds at once.")
    max_length: int = Field(description="Tokens of prompt and completion; longer rows are set aside and counted.")
    warmup_ratio: float
    lr_scheduler_type: str = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    lora_rank: int = 64
    lora_alpha: int = 16
    lora_targets: Literal["attention", "all-linear"] = "attention"
    lora_dropout: float = 0.0
    num_virtual_tokens: int = 20
    prefix_projection: bool = False
    encoder_hidden_size: int | None = None
    prompt_tuning_init_text: str | None = None
    save_steps: int | None = Field(None, description="None: every 60 s or sixth of the run, whichever comes first.")
    early_stopping_patience: int | None = Field(None, description="Evaluations without a lower eval_loss; None: never.")
    validation_rows: int = Field(300, description="Rows of the validation split that eval_loss is measured on.")
    bf16: bool = False
    gradient_checkpointing: bool = False
    threads: int = 1
    processes: int = 1
    distribution: Distribution = "none"
    device: int = Field(0, description="Number of the GPU of a training that has one process.")
    seed: int = 0
    guards: GuardsSpec = GuardsSpec()
    eased: tuple[Ease, ...] = Field((), description="What guards asked for; follows from all else.")

    @model_validator(mode="after")
    def _divides(self) -> TrainingJob:
        if self.batch_size % (self.micro_batch_size * self.processes):
            shared = f" × {self.processes} processes" if self.processes > 1 else ""
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size}{shared} does not divide batch_size {self.batch_size}"
            )
        return self

    @property
    def accumulation(self) -> int:
        """Micro-batches of one process in an optimizer step."""
        return self.batch_size // (self.micro_batch_size * self.processes)

    @property
    def deciding(self) -> dict[str, Any]:
        """What decides the result: the part of the job that a stage's fingerprint covers."""
        return self.model_dump(mode="json", exclude={*NOT_IN_FINGERPRINT, *foreign_settings(self.method)})

    @property
    def shape(self) -> dict[str, Any]:
        """The method with its own settings: what an adapter's weights alone do not tell."""
        return {"method": self.method, **{name: getattr(self, name) for name in own_settings(self.method)}}

    @property
    def recipe(self) -> dict[str, str | float | int | bool | None]:
        """Every plain value of the job, for the record; references, folders and other methods' settings left out."""
        left_out = {
            "model",
            "train",
            "validation",
            "device",
            "partial",
            "final",
            "guards",
            "eased",
            *foreign_settings(self.method),
        }
        return {
            **self.model_dump(mode="json", exclude=left_out),
            "accumulation": self.accumulation,
        }


def shared(spec: SFTSpec | AlignSpec | RewardModelSpec, sft: SFTSpec, recipe: Recipe) -> dict[str, Any]:
    """What every training takes alike: its own section's values, SFT's way to train, and what the recipe fills in."""
    return {
        "learning_rate": spec.learning_rate or recipe.learning_rate,
        "max_length": spec.max_length,
        "seed": spec.seed,
        "method": sft.method,
        "max_grad_norm": sft.max_grad_norm,
        "lora_rank": sft.lora_rank,
        "lora_alpha": sft.lora_alpha,
        "lora_targets": sft.lora_targets,
        "num_virtual_tokens": sft.num_virtual_tokens,
        "prefix_projection": sft.prefix_projection,
        "encoder_hidden_size": sft.encoder_hidden_size,
        "prompt_tuning_init_text": sft.prompt_tuning_init_text,
        "save_steps": sft.save_steps,
        "bf16": recipe.bf16 if sft.bf16 is None else sft.bf16,
        "gradient_checkpointing": _checkpointed(sft, recipe),
        "threads": recipe.threads,
    }


def _checkpointed(spec: SFTSpec, recipe: Recipe) -> bool:
    """What the spec says, else the recipe; never for a prefix: layers that are computed twice have no cache."""
    chosen = recipe.gradient_checkpointing if spec.gradient_checkpointing is None else spec.gradient_checkpointing
    return chosen and spec.method != "prefix"


def guarded(job: Job, guards: GuardsSpec | None) -> Job:
    """The job under the spec's guards; None leaves the defaults."""
    return job if guards is None else job.model_copy(update={"guards": guards})


def micro_batch(batch_size: int, at_most: int, processes: int = 1) -> int:
    """The largest divisor of a process's part of `batch_size` that is no more than `at_most`.

    Raises: SpecError when the processes cannot share the batch in equal parts.
    """
    return share(batch_size, processes, at_most)
