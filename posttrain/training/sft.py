"""SFT: teach a model the completions of a data set, given their prompts.

    python -m posttrain.training.sft job.json

Loss: mean negative log-likelihood of completion tokens (and their end-of-text token) only, given the prompt; of a
conversation, of all the assistant's answers.
`train` is the stage (parent's side, light); `run` is the work, inside the training process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from posttrain.artifacts import DatasetRef, Done, ModelRef, Workspace
from posttrain.errors import SpecError
from posttrain.process import serve
from posttrain.progress import Progress, silent
from posttrain.training.job import Recipe, TrainingJob, guarded, micro_batch, shared
from posttrain.training.result import TrainResult
from posttrain.training.supervise import train_stage

if TYPE_CHECKING:
    from posttrain.spec import GuardsSpec, SFTSpec
    from posttrain.training.rows import Excluded

MODULE = "posttrain.training.sft"


class SFTJob(TrainingJob):
    """`train` and `validation` have the columns id, source, system, prompt, completion."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    neftune_noise_alpha: float | None = None
    assistant_turns: Literal["all", "last"] = "all"
    packing: bool = False
    padding_free: bool = False


def resolve(
    base: ModelRef,
    train: DatasetRef,
    validation: DatasetRef | None,
    spec: SFTSpec,
    recipe: Recipe,
) -> SFTJob:
    """The job that the spec asks for, its open values taken from the recipe; folders still empty."""
    if spec.early_stopping_patience and validation is None:
        raise SpecError("sft.early_stopping_patience: there are no validation rows to stop by; leave it empty")
    batch = spec.batch_size or recipe.batch_size
    return SFTJob(
        model=base,
        train=train,
        validation=validation,
        num_train_epochs=spec.num_train_epochs or recipe.num_train_epochs,
        batch_size=batch,
        micro_batch_size=micro_batch(batch, spec.micro_batch_size or recipe.micro_batch_size, recipe.processes),
        processes=recipe.processes,
        distribution=recipe.distribution,
        warmup_ratio=recipe.warmup_ratio if spec.warmup_ratio is None else spec.warmup_ratio,
        lr_scheduler_type=spec.lr_scheduler_type,
        optimizer=spec.optimizer,
        weight_decay=spec.weight_decay,
        lora_dropout=spec.lora_dropout,
        early_stopping_patience=spec.early_stopping_patience,
        neftune_noise_alpha=spec.neftune_noise_alpha,
        assistant_turns=spec.assistant_turns,
        packing=spec.packing,
        padding_free=spec.padding_free,
        **shared(spec, spec, recipe),
    )


def train(
    base: ModelRef,
    train: DatasetRef,
    validation: DatasetRef | None,
    spec: SFTSpec,
    recipe: Recipe,
    workspace: Workspace,
    progress: Progress = silent,
    guards: GuardsSpec | None = None,
    device: int = 0,
) -> Done[TrainResult]:
    """Fine-tune `base` on `train`, in a process of its own; return at once when that was done before.

    Resumes from the newest complete checkpoint when an earlier try was stopped; halves the micro-batch when memory
    runs out. Raises: `TrainingDiverged`; `DataError`; `ModelError`; `StageCrashed` (worth another call).
    """
    job = guarded(resolve(base, train, validation, spec, recipe), guards).model_copy(update={"device": device})
    return train_stage("sft", MODULE, job, workspace, progress)


def run(job: SFTJob, progress: Progress = silent) -> TrainResult:
    """Train in this process; see `train` for what may be raised."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from posttrain.training import adapters, muon, packing, trainer

    progress(0, 1, "loading the model")
    trainer.prepare_process(job)
    model, tokenizer, base = trainer.load_policy(job)
    packing.prepare(job, model)
    progress(0, 1, "tokenising")
    longest = adapters.room(job, model)
    aside = Path(job.partial) / "excluded.jsonl"
    rows, lengths, excluded = dataset(job.train, tokenizer, longest, aside, job.assistant_turns)
    laid = packing.lay_out(job, rows, lengths, validation(job, tokenizer, longest), longest)

    def make() -> Any:
        settings = trainer.arguments(laid.job, len(laid.lengths), evaluate=laid.held_out is not None)
        return trainer.resumable(SFTTrainer)(
            model=model,
            args=SFTConfig(
                **settings,
                **laid.settings,
                max_length=None,
                completion_only_loss=True,
                neftune_noise_alpha=job.neftune_noise_alpha,
            ),
            train_dataset=laid.rows,
            eval_dataset=laid.held_out,
            processing_class=tokenizer,
            peft_config=trainer.adapter_config(job, model),
            optimizers=(muon.of(model, job.learning_rate, job.weight_decay) if job.optimizer == "muon" else None, None),
        )

    result = trainer.fit(
        laid.job,
        make,
        laid.lengths,
        tokenizer,
        base,
        progress,
        {"rows_excluded": float(excluded), "padding_waste": laid.waste},
    )
    return result.model_copy(update={"rows": len(rows), "recipe": job.recipe})


def validation(job: SFTJob, tokenizer: Any, longest: int) -> Any:
    """The first rows of the validation split as tokens, or None when there is none."""
    if job.validation is None:
        return None
    rows, _, _ = dataset(job.validation, tokenizer, longest, None, job.assistant_turns)
    return rows.select(range(min(len(rows), job.validation_rows)))


def dataset(
    ref: DatasetRef,
    tokenizer: Any,
    max_length: int,
    excluded_to: Path | None,
    assistant_turns: Literal["all", "last"] = "all",
) -> tuple[Any, list[int], int]:
    """A `datasets.Dataset` of input_ids and completion_mask, tokens a row, and how many rows were too long.

    TRL turns the mask into labels.
    """
    from datasets import Dataset

    from posttrain.training import rows as to_tokens

    rows = to_tokens.read(ref)
    ids, masks, left_out = supervised_ids(rows, tokenizer, assistant_turns)
    lengths = [len(row) for row in ids]
    kept, excluded = to_tokens.fits(rows, lengths, max_length, ref.uri)
    if excluded_to is not None:
        to_tokens.write_excluded([*excluded, *left_out], excluded_to)
    columns = {"input_ids": [ids[row] for row in kept], "completion_mask": [masks[row] for row in kept]}
    return Dataset.from_dict(columns), [lengths[row] for row in kept], len(excluded)


def supervised_ids(
    rows: Sequence[dict[str, Any]], tokenizer: Any, assistant_turns: Literal["all", "last"] = "all"
) -> tuple[list[list[int]], list[list[int]], list[Excluded]]:
    """Token ids of each row; of each token whether the loss counts it (1) or not; earlier answers that cannot count.

    The tokens of the prompt are those that evaluation sends; with `assistant_turns` "all" the answers in it count too.
    """
    from posttrain.training import rows as to_tokens
    from posttrain.training import turns

    prompts = to_tokens.prompt_ids(rows, tokenizer)
    completions = to_tokens.completion_ids([row["completion"] for row in rows], tokenizer)
    earlier, left_out = turns.marks(rows, prompts, tokenizer, assistant_turns)
    ids = [p + c for p, c in zip(prompts, completions, strict=True)]
    masks = [e + [1] * len(c) for e, c in zip(earlier, completions, strict=True)]
    return ids, masks, left_out


if __name__ == "__main__":
    serve(SFTJob, run)
