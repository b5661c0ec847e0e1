"""DPO: prefer the better of two answers, without a reward model (arXiv 2305.18290).

    python -m posttrain.training.dpo job.json

Loss: -log sigmoid(beta × (log-ratio of chosen - log-ratio of rejected)), ratios against the policy as it was before,
plus `sft_weight` times the chosen answer's negative log-likelihood a token (arXiv 2404.19733), which keeps a
small model from losing both answers. The reference's log-probabilities are computed once, before the first step:
for full fine-tuning from the untouched model, for LoRA with the new adapter switched off (an adapter of SFT has
been merged before, or the reference would be the model before SFT).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import DatasetRef, Done, ModelRef, Workspace
from posttrain.errors import DataError
from posttrain.process import serve
from posttrain.progress import Progress, silent
from posttrain.training.job import Recipe, TrainingJob, guarded, micro_batch, shared
from posttrain.training.result import TrainResult
from posttrain.training.supervise import train_stage

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, GuardsSpec, SFTSpec

MODULE = "posttrain.training.dpo"


class DPOJob(TrainingJob):
    """`train` has the columns id, system, prompt, chosen, rejected."""

    beta: float = 0.1
    sft_weight: float = 0.0


def resolve(policy: ModelRef, pairs: DatasetRef, spec: AlignSpec, sft: SFTSpec, recipe: Recipe) -> DPOJob:
    """The job that the spec asks for; method and adapter as in SFT; folders still empty."""
    batch = spec.batch_size or recipe.batch_size
    return DPOJob(
        model=policy,
        train=pairs,
        learning_rate=spec.learning_rate or recipe.learning_rate,
        num_train_epochs=spec.num_train_epochs,
        batch_size=batch,
        micro_batch_size=micro_batch(batch, recipe.micro_batch_size),
        max_length=spec.max_length,
        warmup_ratio=recipe.warmup_ratio,
        seed=spec.seed,
        beta=spec.beta,
        sft_weight=spec.sft_weight or 0.0,
        **shared(sft, recipe),
    )


def train(
    policy: ModelRef,
    pairs: DatasetRef,
    spec: AlignSpec,
    sft: SFTSpec,
    recipe: Recipe,
    workspace: Workspace,
    progress: Progress = silent,
    guards: GuardsSpec | None = None,
) -> Done[TrainResult]:
    """Align `policy` on `pairs`, in a process of its own; return at once when that was done before.

    Resumes and retries as SFT does. Raises: `DataError` when there is no pair; `TrainingDiverged`; `ModelError`;
    `StageCrashed` (worth another call).
    """
    if pairs.rows == 0:
        raise DataError(f"{pairs.uri}: no pair to learn from; lower align.min_margin or raise align.prompts")
    job = guarded(resolve(policy, pairs, spec, sft, recipe), guards)
    return train_stage("dpo", MODULE, job, workspace, progress)


class Prepared:
    """Mixed into DPOTrainer: rows come as tokens, and the reference is scored as the policy will be."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, *args: Any, **kwargs: Any) -> Any:
        from posttrain.training.head import score_completions_only

        score_completions_only(self.model)  # type: ignore[attr-defined]
        return super()._precompute_ref_logps(*args, **kwargs)  # type: ignore[misc]


def run(job: DPOJob, progress: Progress = silent) -> TrainResult:
    """Train in this process; see `train` for what may be raised."""
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from posttrain.training import trainer

    progress(0, 1, "loading the model")
    trainer.prepare_process(job)
    model, tokenizer, base = trainer.load_policy(job)
    rows, lengths, excluded = dataset(job, tokenizer)

    def make() -> Any:
        progress(0, 1, "scoring the reference")
        with_sft = job.sft_weight > 0
        settings = trainer.arguments(job, len(lengths), evaluate=False)
        return trainer.resumable(DPOTrainer, Prepared)(
            model=model,
            args=DPOConfig(
                **settings,
                beta=job.beta,
                loss_type=["sigmoid", "sft"] if with_sft else ["sigmoid"],
                loss_weights=[1.0, job.sft_weight] if with_sft else None,
                max_length=None,
                precompute_ref_log_probs=True,
                precompute_ref_batch_size=job.micro_batch_size,
            ),
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=trainer.adapter_config(job, model),
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


def dataset(job: DPOJob, tokenizer: Any) -> tuple[Any, list[int], int]:
    """A `datasets.Dataset` of prompt_ids, chosen_ids, rejected_ids; tokens a pair; how many pairs were too long."""
    from datasets import Dataset

    from posttrain.training import rows as to_tokens

    rows = to_tokens.read(job.train)
    prompts = to_tokens.prompt_ids(rows, tokenizer)
    chosen = to_tokens.completion_ids([row["chosen"] for row in rows], tokenizer)
    rejected = to_tokens.completion_ids([row["rejected"] for row in rows], tokenizer)
    lengths = [len(p) + max(len(c), len(r)) for p, c, r in zip(prompts, chosen, rejected, strict=True)]
    kept, excluded = to_tokens.fits(rows, lengths, job.max_length, job.train.uri)
    to_tokens.write_excluded(excluded, Path(job.partial) / "excluded.jsonl")
    columns = {
        "prompt_ids": [prompts[row] for row in kept],
        "chosen_ids": [chosen[row] for row in kept],
        "rejected_ids": [rejected[row] for row in kept],
    }
    return Dataset.from_dict(columns), [lengths[row] for row in kept], len(excluded)


if __name__ == "__main__":
    serve(DPOJob, run)
