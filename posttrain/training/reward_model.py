"""A reward model: learn from pairs which of two answers people prefer, then say how far it may be trusted.

    python -m posttrain.training.reward_model job.json

Loss: -log sigmoid(score of chosen - score of rejected) (Bradley-Terry), plus a pull of the scores towards a mean of 0.
The pairs of some prompts are held out. On them the finished model, read back from its folder as everybody will read it,
is measured: accuracy with interval, calibration, what else than quality it goes by. Its gate is judged there too: a
refused reward model is published with its verdict, and never asked.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from posttrain.artifacts import DatasetRef, Done, ModelRef, Stage, Workspace, digest, file_digest, run_stage
from posttrain.errors import DataError, ModelError
from posttrain.evaluation.calibration import Calibration
from posttrain.evaluation.pairwise import BiasReport
from posttrain.evaluation.scores import Score
from posttrain.gates import Check, Outcome, Verdict
from posttrain.process import launch, serve
from posttrain.progress import Progress, silent
from posttrain.training import job as jobs
from posttrain.training.job import Recipe, TrainingJob, guarded, micro_batch, shared
from posttrain.training.result import TrainResult
from posttrain.training.rewards.preference import RewardModel
from posttrain.training.supervise import LIBRARIES, clear, supervise

if TYPE_CHECKING:
    from posttrain.evaluation.pairwise import Pairs
    from posttrain.spec import GuardsSpec, RewardModelSpec, SFTSpec

MODULE = "posttrain.training.reward_model"
CODE = (
    *jobs.CODE,
    MODULE,
    "posttrain.models.classifier",
    "posttrain.evaluation.calibration",
    "posttrain.evaluation.pairwise",
    "posttrain.data.steps.scoring",
    "posttrain.data.text.language",
)
GATE = "reward_model"
SCALE_PAIRS = 1000
"""Training pairs whose scores give the scale; more would not move it."""
SWAPPED_PAIRS = 200
"""Held-out pairs that are asked about again in the other order, to show that it makes no difference."""

Row = dict[str, Any]


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
    from posttrain.data.embedding.pretrained import folder_of, model_digest

    folder = folder_of(spec.model, "reward_model.model")
    return ModelRef(base=str(folder), fingerprint=model_digest(folder))


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
    """The job that the spec asks for; adapters as in SFT; folders still empty. Raises: `ModelError`: no such model."""
    from posttrain.training.recipes import reward_model_method

    batch = spec.batch_size or recipe.batch_size
    return RewardModelJob(
        model=start_from(policy, spec),
        train=pairs,
        learning_rate=spec.learning_rate or recipe.learning_rate,
        num_train_epochs=spec.num_train_epochs,
        batch_size=batch,
        micro_batch_size=micro_batch(batch, recipe.micro_batch_size),
        max_length=spec.max_length,
        warmup_ratio=recipe.warmup_ratio,
        seed=spec.seed,
        center_rewards_coefficient=spec.center_rewards_coefficient,
        held_out=spec.held_out,
        min_accuracy=spec.min_accuracy,
        **{**shared(sft, recipe), "method": reward_model_method(spec, sft)},
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


def split(rows: Sequence[Row], share: float, seed: int, where: str) -> tuple[list[Row], list[Row]]:
    """(pairs to train on, pairs held out): all pairs of a prompt go to one side, whatever the order of the rows.

    Prompts that differ in case, spacing and punctuation only are one. Raises: `DataError` with fewer than two prompts.
    """
    keys = [prompt_key(row) for row in rows]
    known = sorted(set(keys), key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
    if len(known) < 2:
        raise DataError(
            f"{where}: found pairs of {len(known)} prompts, expected at least 2, one to train on and one to hold out; "
            "give more pairs in data.preference"
        )
    kept = set(known[: min(len(known) - 1, max(1, math.ceil(share * len(known))))])
    sides: tuple[list[Row], list[Row]] = [], []
    for row, key in zip(rows, keys, strict=True):
        sides[key in kept].append(row)
    return sides


def prompt_key(row: Row) -> str:
    """What tells prompts apart: the words of instruction and prompt."""
    from posttrain.data.text.words import key

    return f"{key(row.get('system') or '')}\n{key(row['prompt'])}"


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


def asked(row: Row, side: str) -> tuple[str, str, str]:
    """System message, prompt and the answer of a side, `chosen` or `rejected`."""
    return str(row.get("system") or ""), str(row["prompt"]), str(row[side])


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
        scores=write_scores(held_out, pairs, job),
        verdict=judge(accuracy, job.min_accuracy, len(held_out), len(set(pairs.prompts))),
    )


def scored(folder: Path, rows: Sequence[Row], max_length: int, swap: bool = False) -> Pairs:
    """The pairs with the model's scores; `swap`: the rejected answers are asked about first."""
    import numpy as np

    from posttrain.data.steps.scoring import rewards
    from posttrain.evaluation.pairwise import Pairs

    sides = ("rejected", "chosen") if swap else ("chosen", "rejected")
    given = [asked(row, side) for row in rows for side in sides]
    found = rewards(folder, given, max_length)[:, 0].astype(np.float64).reshape(-1, 2)
    scores = dict(zip(sides, found.T, strict=True))
    return Pairs(
        prompts=[prompt_key(row) for row in rows],
        chosen=[row["chosen"] for row in rows],
        rejected=[row["rejected"] for row in rows],
        chosen_scores=scores["chosen"],
        rejected_scores=scores["rejected"],
    )


def write_scores(rows: Sequence[Row], pairs: Pairs, job: RewardModelJob) -> DatasetRef:
    """`held_out.parquet`: id, system, prompt, chosen, rejected, chosen_score, rejected_score."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = {
        name: [str(row.get(name) or "") for row in rows] for name in ("id", "system", "prompt", "chosen", "rejected")
    }
    table = pa.table({**text, "chosen_score": pairs.chosen_scores, "rejected_score": pairs.rejected_scores})
    path = Path(job.partial) / "held_out.parquet"
    pq.write_table(table, path)
    return DatasetRef(uri=str(Path(job.final) / path.name), fingerprint=file_digest(path), rows=len(rows))


def judge(accuracy: Score, least: float, pairs: int, prompts: int) -> Verdict:
    """May the reward model be asked? Only when the whole interval of its accuracy lies above `least`."""
    outcome: Outcome = "passed" if accuracy.low > least else "too_few_rows" if accuracy.value > least else "refused"
    words = {
        "passed": f"is surely above {least:g}",
        "too_few_rows": f"is not surely above {least:g}: too few pairs to tell, or too little learned",
        "refused": f"is not above {least:g}",
    }
    reason = f"accuracy {accuracy} on {pairs:,} held-out pairs of {prompts:,} prompts {words[outcome]}"
    check = Check(
        metric="pairwise_accuracy",
        value=accuracy.value,
        low=accuracy.low,
        high=accuracy.high,
        requirement=f"lower end > {least:g}",
        outcome=outcome,
        reason=reason,
    )
    verb = {"passed": "passed", "too_few_rows": "too few rows to tell", "refused": "refused"}[outcome]
    return Verdict(name=GATE, checks=(check,), summary=f"{verb}: {reason}")


if __name__ == "__main__":
    serve(RewardModelJob, run)
