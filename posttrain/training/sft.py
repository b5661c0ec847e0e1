"""SFT: teach a model the completions of a data set, given their prompts.

    python -m posttrain.training.sft job.json

Loss: mean negative log-likelihood of completion tokens (and their end-of-text token) only, given the prompt.
`train` is the stage (parent's side, light); `run` is the work, inside the training process.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from posttrain.artifacts import DatasetRef, Done, ModelRef, Workspace
from posttrain.process import serve
from posttrain.progress import Progress, silent
from posttrain.training.job import Recipe, TrainingJob, micro_batch, shared
from posttrain.training.result import TrainResult
from posttrain.training.supervise import train_stage

if TYPE_CHECKING:
    from posttrain.spec import SFTSpec

MODULE = "posttrain.training.sft"


class SFTJob(TrainingJob):
    """`train` and `validation` have the columns id, source, system, prompt, completion."""

    optimizer: Literal["adamw", "muon"] = "adamw"


def resolve(
    base: ModelRef,
    train: DatasetRef,
    validation: DatasetRef | None,
    spec: SFTSpec,
    recipe: Recipe,
) -> SFTJob:
    """The job that the spec asks for, its open values taken from the recipe; folders still empty."""
    batch = spec.batch_size or recipe.batch_size
    return SFTJob(
        model=base,
        train=train,
        validation=validation,
        learning_rate=spec.learning_rate or recipe.learning_rate,
        num_train_epochs=spec.num_train_epochs or recipe.num_train_epochs,
        batch_size=batch,
        micro_batch_size=micro_batch(batch, spec.micro_batch_size or recipe.micro_batch_size, recipe.processes),
        processes=recipe.processes,
        distribution=recipe.distribution,
        max_length=spec.max_length,
        warmup_ratio=recipe.warmup_ratio if spec.warmup_ratio is None else spec.warmup_ratio,
        lr_scheduler_type=spec.lr_scheduler_type,
        optimizer=spec.optimizer,
        weight_decay=spec.weight_decay,
        lora_dropout=spec.lora_dropout,
        seed=spec.seed,
        **shared(spec, recipe),
    )


def train(
    base: ModelRef,
    train: DatasetRef,
    validation: DatasetRef | None,
    spec: SFTSpec,
    recipe: Recipe,
    workspace: Workspace,
    progress: Progress = silent,
) -> Done[TrainResult]:
    """Fine-tune `base` on `train`, in a process of its own; return at once when that was done before.

    Resumes from the newest complete checkpoint when an earlier try was stopped; halves the micro-batch when memory
    runs out. Raises: `TrainingDiverged`; `DataError`; `ModelError`; `StageCrashed` (worth another call).
    """
    return train_stage("sft", MODULE, resolve(base, train, validation, spec, recipe), workspace, progress)


def run(job: SFTJob, progress: Progress = silent) -> TrainResult:
    """Train in this process; see `train` for what may be raised."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from posttrain.training import muon, trainer

    progress(0, 1, "loading the model")
    trainer.prepare_process(job)
    model, tokenizer, base = trainer.load_policy(job)
    progress(0, 1, "tokenising")
    rows, lengths, excluded = dataset(job.train, tokenizer, job.max_length, Path(job.partial) / "excluded.jsonl")
    held_out = validation(job, tokenizer)

    def make() -> Any:
        settings = trainer.arguments(job, len(lengths), evaluate=held_out is not None)
        return trainer.resumable(SFTTrainer)(
            model=model,
            args=SFTConfig(**settings, max_length=None, completion_only_loss=True),
            train_dataset=rows,
            eval_dataset=held_out,
            processing_class=tokenizer,
            peft_config=trainer.adapter_config(job, model),
            optimizers=(muon.of(model, job.learning_rate, job.weight_decay) if job.optimizer == "muon" else None, None),
        )

    return trainer.fit(
        job,
        make,
        lengths,
        tokenizer,
        base,
        progress,
        {"rows_excluded": float(excluded)},
    )


def validation(job: SFTJob, tokenizer: Any) -> Any:
    """The first rows of the validation split as tokens, or None when there is none."""
    if job.validation is None:
        return None
    rows, _, _ = dataset(job.validation, tokenizer, job.max_length, None)
    return rows.select(range(min(len(rows), job.validation_rows)))


def dataset(ref: DatasetRef, tokenizer: Any, max_length: int, excluded_to: Path | None) -> tuple[Any, list[int], int]:
    """A `datasets.Dataset` of input_ids and completion_mask, tokens a row, and how many rows were too long.

    The tokens of the prompt are those that evaluation sends. TRL turns the mask into labels.
    """
    from datasets import Dataset

    from posttrain.training import rows as to_tokens

    rows = to_tokens.read(ref)
    prompts = to_tokens.prompt_ids(rows, tokenizer)
    completions = to_tokens.completion_ids([row["completion"] for row in rows], tokenizer)
    lengths = [len(p) + len(c) for p, c in zip(prompts, completions, strict=True)]
    kept, excluded = to_tokens.fits(rows, lengths, max_length, ref.uri)
    if excluded_to is not None:
        to_tokens.write_excluded(excluded, excluded_to)
    columns = {
        "input_ids": [prompts[row] + completions[row] for row in kept],
        "completion_mask": [[0] * len(prompts[row]) + [1] * len(completions[row]) for row in kept],
    }
    return Dataset.from_dict(columns), [lengths[row] for row in kept], len(excluded)


if __name__ == "__main__":
    serve(SFTJob, run)
