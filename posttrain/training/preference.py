"""DPO, IPO, KTO and ORPO: prefer the better answer, without a reward model; one stage, the method by name.

    python -m posttrain.training.preference job.json

| method | loss, with r = log-ratio of an answer's probability to the reference's | source |
| --- | --- | --- |
| dpo | -log sigmoid(beta × (r of chosen - r of rejected)) | arXiv 2305.18290 |
| ipo | ((r of chosen - r of rejected) - 1 / (2 beta))², r a token | arXiv 2310.12036 |
| kto | 1 - sigmoid(±beta × (r - z)), + for good and - for bad; z: r of mismatched answers | arXiv 2402.01306 |
| orpo | NLL of chosen - beta × log sigmoid(log-odds of chosen - log-odds of rejected) | arXiv 2403.07691 |

The reference is the policy as it was before. Its log-probabilities are computed once, before the first step: for full
fine-tuning from the untouched model, for an adapter with the new adapter switched off (an adapter of SFT has been
merged before, or the reference would be the model before SFT). So there is one copy of the model in memory. ORPO has
no reference at all. DPO and IPO take `sft_weight` times the chosen answer's negative log-likelihood a token beside
their loss (arXiv 2404.19733), which keeps a small model from losing both answers. Knows not where pairs come from.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from posttrain.artifacts import DatasetRef, Done, ModelRef, Workspace
from posttrain.errors import DataError, ModelError
from posttrain.process import serve
from posttrain.progress import Progress, silent
from posttrain.training.job import Recipe, TrainingJob, guarded, micro_batch, shared
from posttrain.training.result import TrainResult
from posttrain.training.supervise import train_stage

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, GuardsSpec, SFTSpec

MODULE = "posttrain.training.preference"

Objective = Literal["dpo", "ipo", "kto", "orpo"]
OBJECTIVES: dict[str, Objective] = {name: name for name in get_args(Objective)}


class PreferenceJob(TrainingJob):
    """`train` has the columns id, system, prompt, chosen, rejected; for KTO also id, system, prompt, completion, label.

    A row of the batch is a pair; for KTO it is one answer, so that a batch of as many pairs has twice the rows.
    """

    objective: Objective = "dpo"
    beta: float = 0.1
    sft_weight: float = 0.0
    length_normalized: bool = False


def resolve(policy: ModelRef, pairs: DatasetRef, spec: AlignSpec, sft: SFTSpec, recipe: Recipe) -> PreferenceJob:
    """The job that the spec asks for; way to train and adapter as in SFT; folders still empty.

    `spec.method` is one of `OBJECTIVES`.
    """
    answers = 2 if spec.method == "kto" else 1
    batch = spec.batch_size or recipe.batch_size
    return PreferenceJob(
        model=policy,
        train=pairs,
        num_train_epochs=spec.num_train_epochs,
        batch_size=batch * answers,
        micro_batch_size=micro_batch(batch, recipe.micro_batch_size) * answers,
        warmup_ratio=recipe.warmup_ratio,
        objective=OBJECTIVES[spec.method],
        beta=spec.beta,
        sft_weight=spec.sft_weight or 0.0,
        length_normalized=spec.length_normalized,
        **shared(spec, sft, recipe),
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
    return train_stage(spec.method, MODULE, job, workspace, progress)


def run(job: PreferenceJob, progress: Progress = silent) -> TrainResult:
    """Train in this process; see `train` for what may be raised."""
    from posttrain.training import trainer

    progress(0, 1, "loading the model")
    trainer.prepare_process(job)
    model, tokenizer, base = trainer.load_policy(job)
    rows, lengths, counted = dataset(job, tokenizer)

    def make() -> Any:
        progress(0, 1, "tokenising" if job.objective == "orpo" else "scoring the reference")
        return build(job, model, tokenizer, rows)

    return trainer.fit(job, make, lengths, tokenizer, base, progress, counted)


# --- trainers ------------------------------------------------------------------------------------------------


def build(job: PreferenceJob, model: Any, tokenizer: Any, rows: Any) -> Any:
    """TRL's trainer of the job's method, resumable, on `rows` (of `dataset`); `model` is the policy without adapter.

    The reference has been scored when it returns. Raises: `ModelError` when KTO would see one answer at a time.
    """
    from posttrain.training import trainer

    settings = trainer.arguments(job, len(rows), evaluate=False)
    if job.objective == "kto":
        kind, config = _kto(job, settings, *weights(rows["label"]))
    elif job.objective == "orpo":
        kind, config = _orpo(job, settings, model)
    else:
        kind, config = _dpo(job, settings)
    return kind(
        model=model,
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=trainer.adapter_config(job, model),
    )


class Prepared:
    """Mixed into DPOTrainer and KTOTrainer: rows come as tokens, and the reference is scored as the policy will be."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, *args: Any, **kwargs: Any) -> Any:
        from posttrain.training.head import score_completions_only

        score_completions_only(self.model)  # type: ignore[attr-defined]
        return super()._precompute_ref_logps(*args, **kwargs)  # type: ignore[misc]


class Odds:
    """Mixed into ORPOTrainer: rows come as tokens, and only completions are scored.

    TRL's own forward pass learns the prompt too and projects every position; ours is SFT's loss (S1 to S4: response
    tokens only) at the cost of SFT. Odds need a probability below 1, so a certain answer is taken for nearly certain:
    its gradient would not be finite.
    """

    @staticmethod
    def tokenize_row(row: dict[str, Any]) -> dict[str, Any]:
        """The row: it has come as tokens."""
        return row

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Log-probability a token of chosen and rejected (batch,), no logits (TRL only logs them), NLL of chosen."""
        me: Any = self
        both = me.concatenated_inputs(batch, padding_value=me.padding_value, device=me.accelerator.device)
        labels = both["concatenated_labels"].to(me.accelerator.device)
        scored = model(
            input_ids=both["concatenated_input_ids"],
            attention_mask=both["concatenated_attention_mask"],
            labels=labels,
            fused_lm_head=True,
            use_cache=False,
            **({"output_router_logits": True} if me.aux_loss_enabled else {}),
        )
        read = (labels[:, 1:] != -100).float()
        log_probs = scored.log_probs[:, -read.size(1) :] * read
        chosen, rejected = (log_probs.sum(1) / read.sum(1)).clamp(max=CERTAIN).chunk(2)
        pairs = len(chosen)
        nll = -log_probs[:pairs].sum() / read[:pairs].sum()
        none = log_probs.new_zeros(1)
        return chosen, rejected, none, none, nll, *([scored.aux_loss] if me.aux_loss_enabled else [])


CERTAIN = -1e-6
"""Log-probability a token (nats) beyond which float32 no longer tells a probability from 1."""


def _dpo(job: PreferenceJob, settings: dict[str, Any]) -> tuple[Any, Any]:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from posttrain.training import trainer

    loss = "ipo" if job.objective == "ipo" else "sigmoid_norm" if job.length_normalized else "sigmoid"
    with_sft = job.sft_weight > 0
    config = DPOConfig(
        **settings,
        beta=job.beta,
        loss_type=[loss, "sft"] if with_sft else [loss],
        loss_weights=[1.0, job.sft_weight] if with_sft else None,
        max_length=None,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=job.micro_batch_size,
    )
    return trainer.resumable(DPOTrainer, Prepared), config


def _kto(job: PreferenceJob, settings: dict[str, Any], good: float, bad: float) -> tuple[Any, Any]:
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    from posttrain.training import trainer

    if job.micro_batch_size == 1:
        raise ModelError(
            f"{job.model.base}: KTO compares the answers of a micro-batch, and two of up to {job.max_length} tokens do "
            "not fit into memory; lower align.max_length, or take align.method: dpo"
        )
    config = KTOConfig(
        **settings,
        beta=job.beta,
        desirable_weight=good,
        undesirable_weight=bad,
        max_length=None,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=job.micro_batch_size,
    )
    return trainer.resumable(KTOTrainer, Prepared), config


def _orpo(job: PreferenceJob, settings: dict[str, Any], model: Any) -> tuple[Any, Any]:
    from trl.trainer.utils import add_fused_lm_head

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL says of everything in this folder that it may change
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    from posttrain.training import trainer

    add_fused_lm_head(model)
    config = ORPOConfig(**settings, beta=job.beta, max_length=job.max_length, remove_unused_columns=False)
    return trainer.resumable(ORPOTrainer, Odds), config


# --- rows ----------------------------------------------------------------------------------------------------


def dataset(job: PreferenceJob, tokenizer: Any) -> tuple[Any, list[int], dict[str, float]]:
    """A `datasets.Dataset` of tokens in the columns that the method's trainer reads; tokens a row; what was counted.

    Pairs and answers longer than `job.max_length` are set aside whole, in `excluded.jsonl`. Raises: `DataError` when
    nothing fits, when the columns are not those of `PreferenceJob`, and when KTO has answers of one sort only.
    """
    from datasets import Dataset

    from posttrain.training import rows as to_tokens

    rows = to_tokens.read(job.train)
    if job.objective == "kto":
        rows = unpaired(rows, job.train.uri)
    sides = ("completion",) if job.objective == "kto" else ("chosen", "rejected")
    if rows and (missing := [side for side in sides if side not in rows[0]]):
        raise DataError(
            f"{job.train.uri}: found columns {', '.join(rows[0])}, expected {missing[0]}; {job.objective} learns from "
            "pairs of a better and a worse answer: give such rows, or take align.method: kto"
        )
    prompts = to_tokens.prompt_ids(rows, tokenizer)
    answers = [to_tokens.completion_ids([row[side] for row in rows], tokenizer) for side in sides]
    lengths = [len(asked) + max(map(len, said)) for asked, *said in zip(prompts, *answers, strict=True)]
    kept, excluded = to_tokens.fits(rows, lengths, job.max_length, job.train.uri)
    to_tokens.write_excluded(excluded, Path(job.partial) / "excluded.jsonl")
    prompts = [prompts[row] for row in kept]
    answers = [[said[row] for row in kept] for said in answers]
    lengths = [lengths[row] for row in kept]
    counted = {"rows_excluded": float(len(excluded))}
    if job.objective == "orpo":
        return Dataset.from_dict(_labelled(prompts, *answers)), lengths, counted
    columns: dict[str, Any] = {"prompt_ids": prompts}
    columns |= {f"{side}_ids": said for side, said in zip(sides, answers, strict=True)}
    if job.objective == "kto":
        labels = [bool(rows[row]["label"]) for row in kept]
        others = mismatched([rows[row]["prompt"] for row in kept], labels, job.seed, job.train.uri)
        drift = [answers[0][other][: job.max_length - len(p)] for p, other in zip(prompts, others, strict=True)]
        columns |= {"label": labels, "KL_completion_ids": drift}
        lengths = [len(p) + max(map(len, said)) for p, *said in zip(prompts, answers[0], drift, strict=True)]
        good, bad = weights(labels)
        counted |= {"desirable": float(sum(labels)), "desirable_weight": good, "undesirable_weight": bad}
    return Dataset.from_dict(columns), lengths, counted


def unpaired(rows: Sequence[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """One answer a row, `completion`, and whether it is good, `label`: of a pair the chosen one is, the rejected not.

    Rows that are unpaired already (label "true" or "false") stay. Raises: `DataError` when all answers are of one sort.
    """
    made: list[dict[str, Any]] = []
    for row in rows:
        if "chosen" in row:
            asked = {name: value for name, value in row.items() if name not in ("chosen", "rejected")}
            made += [{**asked, "completion": row[side], "label": side == "chosen"} for side in ("chosen", "rejected")]
        else:
            made.append({**row, "label": str(row["label"]).lower() == "true"})
    good = sum(row["label"] for row in made)
    if good in (0, len(made)):
        raise DataError(
            f"{where}: all {len(made)} answers are {'good' if good else 'bad'}, expected some of either sort; "
            "KTO learns from the difference: add answers of the other sort"
        )
    return made


def mismatched(prompts: Sequence[str], labels: Sequence[bool], seed: int, where: str) -> list[int]:
    """For each answer the position of one to another prompt, of its own sort where there is one.

    On such pairs KTO measures how far the policy has drifted. TRL takes the neighbour in the batch, which is the other
    answer to the same prompt where rows come from pairs; ours do not depend on batches. Raises: `DataError` when all
    answers are to one prompt.
    """
    if len(set(prompts)) < 2:
        raise DataError(f"{where}: all answers are to one prompt, expected two prompts at least for KTO; add others")
    order = random.Random(seed).sample(range(len(prompts)), len(prompts))
    place = {row: at for at, row in enumerate(order)}
    found = []
    for row, prompt in enumerate(prompts):
        after = [order[(place[row] + step) % len(order)] for step in range(1, min(len(order), LOOKED_AT))]
        others = [other for other in after if prompts[other] != prompt] or [
            other for other in order if prompts[other] != prompt
        ]
        found.append(next((other for other in others if labels[other] == labels[row]), others[0]))
    return found


LOOKED_AT = 20
"""Rows of the shuffled order in which an answer of the same sort to another prompt is looked for."""


def weights(labels: Sequence[bool]) -> tuple[float, float]:
    """Weights of good and of bad answers' losses, the rarer sort's raised until both count alike (KTO, eq. 8)."""
    good = sum(labels)
    bad = len(labels) - good
    return max(1.0, bad / max(good, 1)), max(1.0, good / max(bad, 1))


def _labelled(prompts: list[list[int]], *answers: list[list[int]]) -> dict[str, list[list[int]]]:
    columns: dict[str, list[list[int]]] = {}
    for side, said in zip(("chosen", "rejected"), answers, strict=True):
        whole = [p + c for p, c in zip(prompts, said, strict=True)]
        columns[f"{side}_input_ids"] = whole
        columns[f"{side}_attention_mask"] = [[1] * len(ids) for ids in whole]
        columns[f"{side}_labels"] = [[-100] * len(p) + c for p, c in zip(prompts, said, strict=True)]
    return columns


if __name__ == "__main__":
    serve(PreferenceJob, run)
