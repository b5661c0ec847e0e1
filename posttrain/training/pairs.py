"""On-policy pairs: the policy answers training prompts K times, the task's verifier ranks its answers.

    python -m posttrain.training.pairs job.json

Chosen and rejected are both the policy's own words: DPO then moves probability between things that the policy
really says. Prompts whose answers are all (nearly) equally good give no pair, and are counted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import (
    DatasetRef,
    Done,
    Frozen,
    ModelRef,
    Stage,
    Workspace,
    file_digest,
    run_stage,
)
from posttrain.errors import DataError, ModelError, OutOfMemory
from posttrain.evaluation.slices import Slice, members, with_noise
from posttrain.process import launch, serve
from posttrain.progress import Progress, silent
from posttrain.training.result import PairsResult
from posttrain.training.rewards import REWARDS, Reward

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, TaskSpec

MODULE = "posttrain.training.pairs"
CODE = (
    "posttrain.training.pairs",
    "posttrain.training.rewards",
    "posttrain.evaluation",
    "posttrain.prompts",
    "posttrain.models.template",
)
COLUMNS = ("id", "system", "prompt", "chosen", "rejected", "margin")
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
) -> Done[PairsResult]:
    """Sample, rank and pair, in a process of its own; return at once when that was done before.

    `slices` are those on which the policy lags: half of the prompts come from them, so that DPO learns where it is
    weak and forgets nothing where it is strong. Halves the batch when memory runs out. Raises: `DataError` when no row
    has a completion that the task's verifier accepts; `ModelError`; `StageCrashed` (worth another call).
    """
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


def run(job: PairsJob, progress: Progress = silent) -> PairsResult:
    """Sample in this process; see `make_pairs` for what may be raised."""
    import torch

    from posttrain.evaluation.generate import sample
    from posttrain.models.load import load_model, load_tokenizer
    from posttrain.prompts import asked
    from posttrain.training.rows import read

    began = time.monotonic()
    torch.set_num_threads(job.threads)
    reward = REWARDS[job.kind]
    judged = verifiable_rows(read(job.train), reward, job.train.uri)
    rows = choose_rows(judged, job.slices, job.prompts, job.seed)
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
    return rank(job, rows, answers, reward, began)


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
    reward: Reward,
    began: float,
) -> PairsResult:
    """Score every answer, pair the best with the worst of each prompt, and write the pairs."""
    scored = [
        reward(
            [row["prompt"]] * len(texts),
            list(texts),
            expected=[row["completion"]] * len(texts),
        )
        for row, texts in zip(rows, answers, strict=True)
    ]
    pairs: list[dict[str, Any]] = []
    for row, texts, scores in zip(rows, answers, scored, strict=True):
        margin = max(scores) - min(scores)
        if margin >= job.min_margin and margin > 0:
            best, worst = scores.index(max(scores)), scores.index(min(scores))
            same = {name: str(row.get(name) or "") for name in ("id", "system", "prompt")}
            pairs.append(
                {
                    **same,
                    "chosen": texts[best],
                    "rejected": texts[worst],
                    "margin": margin,
                }
            )
    flat = [score for scores in scored for score in scores]
    return PairsResult(
        pairs=write(pairs, job),
        prompts=len(rows),
        samples=job.samples,
        kept=len(pairs),
        no_margin=len(rows) - len(pairs),
        all_right=sum(min(scores) >= RIGHT for scores in scored),
        none_right=sum(max(scores) < RIGHT for scores in scored),
        mean_reward=sum(flat) / len(flat),
        mean_margin=mean([pair["margin"] for pair in pairs]),
        chosen_characters=mean([len(pair["chosen"]) for pair in pairs]),
        rejected_characters=mean([len(pair["rejected"]) for pair in pairs]),
        seconds=round(time.monotonic() - began, 3),
    )


def write(pairs: Sequence[dict[str, Any]], job: PairsJob) -> DatasetRef:
    """`pairs.parquet`, with its columns even when there is no pair; the reference points to `final`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.float64() if name == "margin" else pa.string()) for name in COLUMNS])
    path = Path(job.partial) / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(list(pairs), schema=schema), path)
    uri = str(Path(job.final) / path.name)
    return DatasetRef(uri=uri, fingerprint=file_digest(path), rows=len(pairs))


def mean(values: Sequence[float]) -> float:
    """0 for nothing."""
    return sum(values) / len(values) if values else 0.0


if __name__ == "__main__":
    serve(PairsJob, run)
