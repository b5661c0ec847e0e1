"""On-policy pairs: the policy answers training prompts K times; the task's verifier or a reward model ranks them.

    python -m posttrain.training.pairs job.json

Chosen and rejected are both the policy's own words: DPO then moves probability between things that the policy
really says. Prompts whose answers are all (nearly) equally good give no pair; they are counted and kept to be seen.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import DatasetRef, Done, Frozen, ModelRef, Stage, Workspace, run_stage
from posttrain.errors import DataError, ModelError, OutOfMemory
from posttrain.evaluation.slices import Slice, members, with_noise
from posttrain.process import launch, serve
from posttrain.progress import Progress, silent
from posttrain.spec.sections.length_bias import LengthBiasSpec
from posttrain.training.pairing import Pair, best_against_worst, mean, publish, sift, told
from posttrain.training.result import PairsResult
from posttrain.training.rewards import REWARDS, Reward

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, TaskSpec

MODULE = "posttrain.training.pairs"
CODE = (
    "posttrain.training.pairs",
    "posttrain.training.pairing",
    "posttrain.training.rewards",
    "posttrain.data.steps.scoring",
    "posttrain.data.text.preference_rules",
    "posttrain.evaluation",
    "posttrain.prompts",
)
RIGHT = 1.0 - 1e-9


class PairsJob(Frozen):
    """What the sampling process is told; `batch_size` counts answers that are generated at once."""

    model: ModelRef
    train: DatasetRef
    partial: str
    final: str
    kind: str
    prompts: int
    samples: int
    temperature: float
    top_p: float
    min_margin: float
    max_new_tokens: int
    batch_size: int
    threads: int
    seed: int
    slices: tuple[Slice, ...] = ()
    """Slices that lag: half of the prompts are theirs."""
    pairs_per_prompt: int = 1
    length_bias: LengthBiasSpec = LengthBiasSpec()
    ranker: ModelRef | None = None
    """The reward model that ranks; None: the verifier of the task's kind does."""
    max_length: int = 512
    """Tokens of prompt and answer that the reward model reads."""


def make_pairs(
    policy: ModelRef,
    train: DatasetRef,
    task: TaskSpec,
    spec: AlignSpec,
    workspace: Workspace,
    progress: Progress = silent,
    *,
    max_new_tokens: int = 160,
    batch_size: int = 256,
    threads: int = 1,
    slices: Sequence[Slice] = (),
    ranker: ModelRef | None = None,
) -> Done[PairsResult]:
    """Sample, rank and pair, in a process of its own; return at once when that was done before.

    `slices` are those on which the policy lags: half of the prompts come from them, so that DPO learns where it is
    weak and forgets nothing where it is strong. `ranker` is a reward model's folder (`ranker_of`); without it the
    task's verifier ranks. Halves the batch when memory runs out. Raises: `DataError` when no row has a completion that
    the task's verifier accepts, or the kind has none; `ModelError`; `StageCrashed` (worth another call).
    """
    if ranker is None and task.kind not in REWARDS:
        raise DataError(
            f"task.kind {task.kind}: no verifier can rank its answers, expected a reward model or given pairs; set "
            "align.ranker: reward-model, or give data.preference"
        )
    job = PairsJob(
        model=policy,
        train=train,
        partial="",
        final="",
        kind=task.kind,
        prompts=spec.prompts,
        samples=spec.samples,
        temperature=spec.temperature,
        top_p=spec.top_p,
        min_margin=spec.min_margin,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        threads=threads,
        seed=spec.seed,
        slices=tuple(slices),
        pairs_per_prompt=spec.pairs_per_prompt,
        length_bias=spec.length_bias,
        ranker=ranker,
        max_length=spec.max_length,
    )
    inputs = job.model_dump(mode="json", exclude={"partial", "final", "threads"})
    stage = Stage("pairs", inputs, PairsResult, CODE, ("torch", "transformers"))

    def work(partial: Path, final: Path) -> PairsResult:
        placed = job.model_copy(update={"partial": str(partial), "final": str(final)})
        return supervise(placed, progress)

    return run_stage(workspace, stage, work)


def supervise(job: PairsJob, progress: Progress) -> PairsResult:
    """Launch the sampling process, with half the batch whenever memory runs out."""
    while True:
        try:
            return launch(MODULE, job, Path(job.partial), PairsResult, progress)
        except OutOfMemory as error:
            if job.batch_size <= job.samples:
                raise ModelError(
                    f"{job.model.base}: {job.samples} samples of one prompt do not fit into memory ({error}); "
                    "lower align.samples"
                ) from error
            job = job.model_copy(update={"batch_size": max(job.samples, job.batch_size // 2)})


def ranker_of(spec: AlignSpec, root: Path) -> ModelRef | None:
    """The reward model that the spec names to rank answers, from `root` when relative; None where the verifier does.

    Raises: `ModelError` when it is not there, is no sequence classifier with one score, or has no safetensors.
    """
    if spec.ranker_model is None:
        return None
    from posttrain.data.embedding.pretrained import folder_of, model_digest
    from posttrain.data.steps.scoring import check_scores

    own = root / Path(spec.ranker_model).expanduser()
    folder = folder_of(str(own) if own.is_dir() else spec.ranker_model, "align.ranker_model")
    check_scores(folder, "align.ranker_model")
    return ModelRef(base=str(folder), fingerprint=model_digest(folder))


def run(job: PairsJob, progress: Progress = silent) -> PairsResult:
    """Sample in this process; see `make_pairs` for what may be raised."""
    import torch

    from posttrain.evaluation.generate import sample
    from posttrain.models.load import load_model, load_tokenizer
    from posttrain.prompts import asked
    from posttrain.training.rows import read

    began = time.monotonic()
    torch.set_num_threads(job.threads)
    rows = read(job.train)
    if job.ranker is None:
        rows = verifiable_rows(rows, REWARDS[job.kind], job.train.uri)
    rows = choose_rows(rows, job.slices, job.prompts, job.seed)
    progress(0, len(rows), "loading the model")
    model, tokenizer = load_model(job.model, merge=True), load_tokenizer(job.model)
    answers = sample(
        model,
        tokenizer,
        [asked(row) for row in rows],
        job.samples,
        temperature=job.temperature,
        top_p=job.top_p,
        max_new_tokens=job.max_new_tokens,
        seed=job.seed,
        batch_size=job.batch_size,
        progress=progress,
    )
    del model  # before the reward model is loaded: one of them at a time
    progress(len(rows), len(rows), "ranking")
    return rank(job, rows, answers, scores_of(job, rows, answers), began)


def scores_of(job: PairsJob, rows: Sequence[dict[str, Any]], answers: Sequence[Sequence[str]]) -> list[list[float]]:
    """The score of every answer, from the reward model if the job has one, else from the task's verifier (0 to 1)."""
    if job.ranker is None:
        reward = REWARDS[job.kind]
        return [
            reward([row["prompt"]] * len(texts), list(texts), expected=[row["completion"]] * len(texts))
            for row, texts in zip(rows, answers, strict=True)
        ]
    from posttrain.data.steps.scoring import rewards

    asked = [
        (str(row.get("system") or ""), row["prompt"], text)
        for row, texts in zip(rows, answers, strict=True)
        for text in texts
    ]
    flat = iter(rewards(Path(job.ranker.base), asked, job.max_length)[:, 0].tolist())
    return [[float(next(flat)) for _ in texts] for texts in answers]


def verifiable_rows(rows: Sequence[dict[str, Any]], reward: Reward, where: str) -> list[dict[str, Any]]:
    """The rows that the verifier can judge: it gives their completion 1.

    Rows of general text in the mixture are left out that way.
    """
    known = [row["completion"] for row in rows]
    scores = reward([row["prompt"] for row in rows], known, expected=known)
    judged = [row for row, score in zip(rows, scores, strict=True) if score >= RIGHT]
    if not judged:
        raise DataError(
            f"{where}: the task's verifier accepts the completion of none of {len(rows)} rows, so nothing can be "
            "ranked; check task.kind, or set strategy.align: never"
        )
    return judged


def choose_rows(rows: Sequence[dict[str, Any]], slices: Sequence[Slice], count: int, seed: int) -> list[dict[str, Any]]:
    """At most `count` rows, drawn by `seed`: half of them from the slices in equal parts, if there are any.

    A slice of noise takes rows of its own and asks them with its noise.
    """
    chance = random.Random(seed)
    left, chosen = list(rows), []
    for part in slices:
        whole = part.model_copy(update={"rows": len(left)})
        own = members(whole, left)
        places = set(chance.sample(own, min(count // 2 // len(slices), len(own))))
        picked = [row for place, row in enumerate(left) if place in places]
        chosen += with_noise(part, picked) if part.made else picked
        left = [row for place, row in enumerate(left) if place not in places]
    return chosen + chance.sample(left, min(count - len(chosen), len(left)))


def rank(
    job: PairsJob,
    rows: Sequence[dict[str, Any]],
    answers: Sequence[Sequence[str]],
    scored: Sequence[Sequence[float]],
    began: float,
) -> PairsResult:
    """Pair the best with the worst answers of each prompt, sift the pairs, and write both what stays and what not."""
    made: list[Pair] = []
    near: list[Pair] = []
    for row, texts, scores in zip(rows, answers, scored, strict=True):
        found, too_near = best_against_worst(row, texts, scores, job.min_margin, job.pairs_per_prompt)
        made += found
        near += too_near
    pairs, aside = sift(made, job.length_bias, job.kind)
    verified = job.ranker is None
    return PairsResult(
        **publish(pairs, near + aside, Path(job.partial), Path(job.final)),
        **told(pairs, near + aside),
        ranked_by="verifier" if verified else "reward model",
        prompts=len(rows),
        samples=job.samples,
        no_margin=len(near),
        all_right=sum(min(scores) >= RIGHT for scores in scored) if verified else 0,
        none_right=sum(max(scores) < RIGHT for scores in scored) if verified else 0,
        mean_reward=mean(score for scores in scored for score in scores),
        seconds=round(time.monotonic() - began, 3),
    )


if __name__ == "__main__":
    serve(PairsJob, run)
