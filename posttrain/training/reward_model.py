"""A reward model: learn from pairs which of two answers people prefer, then say how far it may be trusted.

    python -m posttrain.training.reward_model job.json

Loss: -log sigmoid(score of chosen - score of rejected) (Bradley-Terry), plus a pull of the scores towards a mean of 0.
The pairs of some prompts are held out. On them the finished model, read back from its folder as everybody will read it,
is measured: accuracy with interval, calibration, what else than quality it goes by. Its gate is judged there too: a
refused reward model is published with its verdict, and never asked.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from posttrain.artifacts import DatasetRef, Done, ModelRef, Stage, Workspace, digest, file_digest, run_stage
from posttrain.errors import ModelError
from posttrain.evaluation.calibration import Calibration
from posttrain.evaluation.pairwise import BiasReport
from posttrain.evaluation.scores import Score
from posttrain.gates import Verdict
from posttrain.process import launch, serve
from posttrain.progress import Progress, silent
from posttrain.training import job as jobs
from posttrain.training.held_out import Row, asked, judge, scored, split, write_scores
from posttrain.training.job import Recipe, TrainingJob, guarded, micro_batch, shared
from posttrain.training.result import TrainResult
from posttrain.training.rewards.preference import RewardModel
from posttrain.training.supervise import LIBRARIES, clear, supervise

if TYPE_CHECKING:
    from posttrain.spec import GuardsSpec, RewardModelSpec, SFTSpec

MODULE = "posttrain.training.reward_model"
CODE = (
    *jobs.CODE,
    MODULE,
    "posttrain.training.held_out",
    "posttrain.models.classifier",
    "posttrain.evaluation.calibration",
    "posttrain.evaluation.pairwise",
    "posttrain.data.steps.scoring",
    "posttrain.data.text.language",
)
SCALE_PAIRS = 128
"""Training pairs, at most, whose scores give the scale: the mean is then within an eighth of a standard deviation."""
SWAPPED_PAIRS = 50
"""Held-out pairs that are asked about again in the other order, to show that it makes no difference."""


class RewardModelJob(TrainingJob):
    """`train` has the columns id, system, prompt, chosen, rejected: all pairs, the held-out ones among them."""

    center_rewards_coefficient: float = 0.01
    held_out: float = 0.2
    min_accuracy: float = 0.5


class RewardModelResult(TrainResult):
    """A reward model, and how far it may be trusted."""

    pairs_held_out: int
    prompts_held_out: int
    accuracy: Score = Field(description="On the held-out pairs; a tie counts half.")
    calibration: Calibration
    bias: BiasReport
    mean: float = Field(description="Mean score of the training pairs' answers.")
    std: float = Field(description="Standard deviation of the same scores.")
    scores: DatasetRef = Field(description="The held-out pairs with chosen_score and rejected_score.")
    verdict: Verdict
    warning: str = Field("", description="What the sources call dangerous about it.")

    @property
    def reward_model(self) -> RewardModel:
        """What rewards and rankers take; they refuse one whose gate did not pass."""
        return RewardModel(
            model=self.model,
            mean=self.mean,
            std=self.std,
            max_length=int(self.recipe["max_length"] or 0),
            passed=self.verdict.passed,
            temperature=self.calibration.temperature,
        )


# --- the parent's side -------------------------------------------------------------------------------------


def start_from(policy: ModelRef, spec: RewardModelSpec) -> ModelRef:
    """The model that becomes the reward model: the one that the spec names, or the policy. Raises: `ModelError`."""
    if spec.model is None:
        return policy
    from posttrain.data.embedding.pretrained import model_digest

    found = located(policy, spec)
    return found.model_copy(update={"fingerprint": model_digest(Path(found.base))})


def located(policy: ModelRef, spec: RewardModelSpec) -> ModelRef:
    """As `start_from`, without the digest of a model that the spec names: that would read every weight."""
    if spec.model is None:
        return policy
    from posttrain.data.embedding.pretrained import folder_of

    return ModelRef(base=str(folder_of(spec.model, "reward_model.model")), fingerprint="")


def check_size(model: ModelRef, policy: ModelRef, allow_larger: bool) -> str:
    """A warning when the spec lets the reward model be larger than the policy (S3), else nothing.

    Both are counted from their `config.json`. Raises: `ModelError` when it is larger and the spec does not allow it.
    """
    from posttrain.models.recipe import human
    from posttrain.training.recipes import shape_of

    ours, its = shape_of(model).parameters, shape_of(policy).parameters
    if ours <= its:
        return ""
    found = f"{model.base}: found {human(ours)} parameters, more than the policy's {human(its)}"
    if not allow_larger:
        raise ModelError(
            f"{found}; a reward model larger than its policy crashes PPO (S3): leave reward_model.model empty, name a "
            "smaller one, or set reward_model.allow_larger: true"
        )
    return f"{found}: 7B with 7B is the most stable, 13B and 70B with 7B crash (S3)"


def resolve(policy: ModelRef, pairs: DatasetRef, spec: RewardModelSpec, sft: SFTSpec, recipe: Recipe) -> RewardModelJob:
    """The job that the spec asks for; adapters as in SFT, folders still empty. Raises: `ModelError`: no such model."""
    from posttrain.training.recipes import reward_model_method

    batch = spec.batch_size or recipe.batch_size
    return RewardModelJob(
        model=start_from(policy, spec),
        train=pairs,
        num_train_epochs=spec.num_train_epochs,
        batch_size=batch,
        micro_batch_size=micro_batch(batch, recipe.micro_batch_size),
        warmup_ratio=recipe.warmup_ratio,
        center_rewards_coefficient=spec.center_rewards_coefficient,
        held_out=spec.held_out,
        min_accuracy=spec.min_accuracy,
        **{**shared(spec, sft, recipe), "method": reward_model_method(spec, sft)},
    )


def train(
    policy: ModelRef,
    pairs: DatasetRef,
    spec: RewardModelSpec,
    sft: SFTSpec,
    recipe: Recipe,
    workspace: Workspace,
    progress: Progress = silent,
    guards: GuardsSpec | None = None,
) -> Done[RewardModelResult]:
    """Train, measure and judge a reward model in a process of its own; return at once when that was done before.

    Resumes and retries as SFT does. A refusal by its gate is no error: the result says so. Raises: `ModelError` for a
    model that is larger than the policy; `DataError` when there are not pairs of at least two prompts;
    `TrainingDiverged`; `StageCrashed` (worth another call).
    """
    job = guarded(resolve(policy, pairs, spec, sft, recipe), guards)
    warning = check_size(job.model, policy, spec.allow_larger)

    def work(partial: Path, final: Path) -> RewardModelResult:
        placed = job.model_copy(update={"partial": str(partial), "final": str(final)})
        result = supervise(placed, lambda one: launch(MODULE, one, partial, RewardModelResult, progress))
        clear(partial)
        return result.model_copy(update={"warning": warning})

    return run_stage(workspace, Stage("reward-model", job.deciding, RewardModelResult, CODE, LIBRARIES), work)


# --- the child's side --------------------------------------------------------------------------------------


def run(job: RewardModelJob, progress: Progress = silent) -> RewardModelResult:
    """Train and measure in this process; see `train` for what may be raised."""
    import torch

    from posttrain.training.rows import read

    trained_on, held_out = split(read(job.train), job.held_out, job.seed, job.train.uri)
    trained = fit(job, trained_on, progress)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return measure(job, trained, trained_on, held_out, progress)


def fit(job: RewardModelJob, rows: Sequence[Row], progress: Progress) -> TrainResult:
    """Train on the pairs; the product is a whole classifier, adapters merged."""
    from datasets import Dataset
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    from posttrain.models.classifier import load_classifier
    from posttrain.models.load import load_tokenizer
    from posttrain.training import rows as to_tokens
    from posttrain.training import trainer

    progress(0, 1, "loading the model")
    trainer.prepare_process(job)
    eager = job.max_length <= trainer.SHORT and not _on_gpu()
    model = load_classifier(job.model, job.seed, "eager" if eager else None)
    tokenizer = load_tokenizer(job.model)
    columns = {name: tokens(rows, name.removesuffix("_ids"), tokenizer) for name in ("chosen_ids", "rejected_ids")}
    lengths = [max(len(chosen), len(rejected)) for chosen, rejected in zip(*columns.values(), strict=True)]
    kept, excluded = to_tokens.fits(rows, lengths, job.max_length, job.train.uri)
    to_tokens.write_excluded(excluded, Path(job.partial) / "excluded.jsonl")
    pairs = Dataset.from_dict({name: [ids[row] for row in kept] for name, ids in columns.items()})

    def make() -> Any:
        return trainer.resumable(RewardTrainer)(
            model=model,
            args=RewardConfig(
                **trainer.arguments(job, len(kept), evaluate=False),
                max_length=None,
                center_rewards_coefficient=job.center_rewards_coefficient or None,
            ),
            train_dataset=pairs,
            processing_class=tokenizer,
            peft_config=adapter_config(job, model),
        )

    counted = {"rows_excluded": float(len(excluded))}
    return trainer.fit(job, make, [lengths[row] for row in kept], tokenizer, "", progress, counted, save_merged)


def _on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def tokens(rows: Sequence[Row], side: str, tokenizer: Any) -> list[list[int]]:
    """Token ids of each prompt with its chosen or rejected answer, as scoring reads them."""
    from posttrain.data.steps.scoring import conversation

    return [conversation(tokenizer, asked(row, side)) for row in rows]


def adapter_config(job: RewardModelJob, model: Any) -> Any:
    """SFT's adapter, and the new head trained whole; None for full fine-tuning."""
    from posttrain.training import trainer

    config = trainer.adapter_config(job, model)
    if config is not None:
        prefix = model.base_model_prefix
        config.task_type = "SEQ_CLS"
        config.modules_to_save = [name for name, _ in model.named_children() if name != prefix]
    return config


def save_merged(model: Any, tokenizer: Any, job: TrainingJob, base: str) -> ModelRef:
    """Write the classifier, adapters merged into it, as safetensors with its tokenizer."""
    whole = model.merge_and_unload() if hasattr(model, "peft_config") else model
    folder = Path(job.partial) / "model"
    whole.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.is_file()}
    return ModelRef(base=str(Path(job.final) / "model"), fingerprint=digest(files))


def measure(
    job: RewardModelJob, trained: TrainResult, trained_on: Sequence[Row], held_out: Sequence[Row], progress: Progress
) -> RewardModelResult:
    """What the finished model does on pairs of prompts that it has not seen, and its gate's verdict."""
    import numpy as np

    from posttrain.evaluation import calibration, pairwise

    progress(0, 1, "scoring held-out pairs")
    folder = Path(job.partial) / "model"
    pairs = scored(folder, held_out, job.max_length)
    swapped = scored(folder, held_out[:SWAPPED_PAIRS], job.max_length, swap=True)
    some = scored(folder, trained_on[:: math.ceil(len(trained_on) / SCALE_PAIRS)], job.max_length)
    answers = np.concatenate([some.chosen_scores, some.rejected_scores])
    mean, std = float(answers.mean()), max(float(answers.std()), 1e-6)
    accuracy = pairwise.accuracy(pairs.margins, pairs.prompts)
    calibrated = calibration.calibrate(pairs.margins, pairs.prompts)
    scale = {"mean": mean, "std": std, "temperature": calibrated.temperature, "max_length": job.max_length}
    (folder / "scale.json").write_text(json.dumps(scale, indent=2) + "\n", encoding="utf-8")
    return RewardModelResult(
        **trained.model_dump(),
        pairs_held_out=len(held_out),
        prompts_held_out=len(set(pairs.prompts)),
        accuracy=accuracy,
        calibration=calibrated,
        bias=pairwise.bias_of(pairs, swapped.margins),
        mean=mean,
        std=std,
        scores=write_scores(held_out, pairs, Path(job.partial), Path(job.final)),
        verdict=judge(accuracy, job.min_accuracy, len(held_out), len(set(pairs.prompts))),
    )


if __name__ == "__main__":
    serve(RewardModelJob, run)
