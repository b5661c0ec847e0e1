"""The measuring stage: a model answers a split's prompts, and every metric of the task gets a value and interval.

    python -m posttrain.evaluation.measure job.json

It leaves every output in `outputs.parquet`, so that later comparisons need no model. Knows nothing of gates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posttrain.artifacts import DatasetRef, Done, ModelRef, Stage, Workspace, run_stage
from posttrain.evaluation import consistency, harness, safety, statistics
from posttrain.evaluation.asking import Asker
from posttrain.evaluation.consistency import Consistency
from posttrain.evaluation.constrained import settled
from posttrain.evaluation.engines import Engine, opened
from posttrain.evaluation.few_shot import FewShot
from posttrain.evaluation.job import EvaluateLike, MeasureJob, SelfConsistency, TaskLike
from posttrain.evaluation.metrics import METRICS, names
from posttrain.evaluation.perplexity import surprise
from posttrain.evaluation.rows import Row, read, write
from posttrain.evaluation.scores import Prompting, Score, Scores
from posttrain.evaluation.scoring import Scoring
from posttrain.evaluation.slices import Slice, chosen, said_carelessly
from posttrain.models.load import load_tokenizer
from posttrain.process import serve
from posttrain.progress import Progress, silent
from posttrain.prompts import messages

MODULE = "posttrain.evaluation.measure"
CODE = (
    "posttrain.evaluation",
    "posttrain.prompts",
    "posttrain.models.load",
    "posttrain.models.virtual",
    "posttrain.models.template",
    "posttrain.data.embedding",
    "posttrain.data.steps.harm",
    "posttrain.data.steps.scoring",
    "posttrain.data.synthetic",
    "posttrain.data.text.refusal",
    "posttrain.data.rules.label",
    "posttrain.data.text.words",
)
LIBRARIES = ("torch", "transformers", "peft")

Launch = Callable[[str, MeasureJob, Progress], Mapping[str, Any]]


def measure(
    model: ModelRef,
    rows: DatasetRef,
    *,
    split: str,
    prompting: Prompting,
    task: TaskLike,
    spec: EvaluateLike,
    workspace: Workspace,
    scoring: Scoring | None = None,
    limit: int | None = None,
    examples: DatasetRef | None = None,
    general_held_out: DatasetRef | None = None,
    progress: Progress = silent,
    launch: Launch | None = None,
) -> Done[Scores]:
    """Measure `model` on the first `limit` rows (all when None); found again when nothing changed.

    `examples` are the rows that few-shot prompting draws its worked examples from. `general_held_out` adds the
    perplexity. `scoring` adds the task's JSON Schema and the user's own metrics (`scoring_of`); without it the kind's
    metrics are measured that need neither. `launch(module, job, progress)` runs the job in another process and returns
    its `Scores` as plain data; without it the work is done here. Raises: DataError, ModelError, WorkspaceError.
    """
    settings: dict[str, Any] = {
        "model": model,
        "rows": rows,
        "split": split,
        "prompting": prompting,
        "scoring": scoring or Scoring(kind=task.kind),
        "limit": limit,
        "examples": examples if prompting == "few-shot" else None,
        "few_shot": _few_shot(spec) if prompting == "few-shot" else None,
        "few_shot_search": spec.few_shot_search and prompting == "few-shot",
        **_asked(prompting, spec, scoring or Scoring(kind=task.kind)),
        "general_held_out": general_held_out,
        "perplexity_rows": spec.perplexity_rows if general_held_out else 0,
        "max_new_tokens": spec.max_new_tokens,
        "batch_size": spec.batch_size,
        "resamples": spec.resamples,
        "slices": tuple(Slice(**part.model_dump(), seed=spec.seed) for part in spec.slices),
        "seed": spec.seed,
    }
    stage = Stage(f"measure-{split}-{prompting}", _deciding(settings), Scores, CODE, LIBRARIES)

    def work(partial: Path, final: Path) -> Scores:
        kept = str(workspace.root / "models")
        job = MeasureJob(**settings, kept_outputs=kept, partial=str(partial), final=str(final))
        return run(job, progress) if launch is None else Scores.model_validate(launch(MODULE, job, progress))

    return run_stage(workspace, stage, work)


def _few_shot(spec: EvaluateLike) -> FewShot:
    return FewShot(examples=spec.few_shot_examples, selection=spec.few_shot_selection)


def _asked(prompting: Prompting, spec: EvaluateLike, scoring: Scoring) -> dict[str, Any]:
    """The settings of prompting and decoding that count for this way of prompting; the others stay at their defaults,
    so that changing them measures nothing anew."""
    votes = SelfConsistency(**spec.self_consistency.model_dump()) if prompting == "self-consistency" else None
    reasons = prompting == "step-by-step" or (votes is not None and votes.step_by_step)
    again = spec.consistency if prompting == "zero-shot" else None
    return {
        "reasoning_tokens": spec.reasoning_tokens if reasons else 0,
        "self_consistency": votes or SelfConsistency(),
        "consistency": Consistency(**again.model_dump()) if again else None,
        "schema_held": settled(spec.constrained, scoring.kind, scoring.json_schema),
        "engine": spec.engine,
    }


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the scores: data counts by content, wherever it lies."""
    return {key: value.fingerprint if isinstance(value, DatasetRef) else value for key, value in settings.items()}


def run(job: MeasureJob, progress: Progress = silent) -> Scores:
    """Load, generate, count, resample; writes `outputs.parquet` (and `general.parquet`) into `job.partial`."""
    began = time.monotonic()
    rows = read(job.rows, job.limit)
    progress(0, len(rows), "loading the model")
    tokenizer = load_tokenizer(job.model)
    engine = opened(job.engine, job.model, tokenizer, job.batch_size)
    # First, because vLLM wants the memory that the model takes in transformers.
    surprises = _surprises(job, engine, tokenizer, progress)
    general_slices = _general_ability(job, engine, tokenizer, progress)
    asker = Asker(job, engine, tokenizer, progress)
    table, cut = asker.answered(rows)
    metrics = _metrics(job, table)
    general = None
    if surprises:
        metrics["perplexity"] = score(surprises, "perplexity", job.resamples, job.seed)
        general = _write(job, "general.parquet", surprises)
    found = _scores(job, table, metrics, "outputs.parquet")
    more: dict[str, Any] = {"slices": _slices(asker, rows, table) | general_slices, "general": general}
    more |= {"cut_prompts": cut, "few_shot": str(asker.few_shot or ""), "decoding": _decoding(job, engine)}
    more |= {"seconds": round(time.monotonic() - began, 3)}
    return found.model_copy(update=more)


def _surprises(job: MeasureJob, engine: Engine, tokenizer: Any, progress: Progress) -> list[dict[str, Any]]:
    """What the perplexity is counted from; nothing where it is not measured."""
    if job.general_held_out is None:
        return []
    held_out = read(job.general_held_out, job.perplexity_rows)
    told = {row["id"]: {"prompt": row["prompt"], "expected": row["completion"]} for row in held_out}
    found = surprise(engine.model, tokenizer, held_out, batch_size=job.batch_size, progress=progress)
    return [{**told[row["id"]], **row} for row in found]


def _general_ability(job: MeasureJob, engine: Engine, tokenizer: Any, progress: Progress) -> dict[str, Scores]:
    """The tasks of lm-evaluation-harness, each a slice; asked once, for it is the same model however it is prompted."""
    if job.scoring.harness is None or job.prompting != "zero-shot":
        return {}
    told = harness.answered(job.scoring.harness, engine.model, tokenizer, job.batch_size, job.seed, progress)
    return {
        name: _scores(job, rows, _metrics(job, rows, [harness.METRIC]), f"{name}.parquet")
        for name, rows in told.items()
    }


def _decoding(job: MeasureJob, engine: Engine) -> str:
    """What a reader has to know of how outputs came about, beyond the prompt."""
    held = ["held to the JSON Schema while decoding"] if job.schema_held else []
    return ", ".join([*held, *(["by vLLM"] if engine.name == "vllm" else [])])


def _slices(asker: Asker, rows: Sequence[Row], table: Sequence[dict[str, Any]]) -> dict[str, Scores]:
    """The parts of the rows that are scored by themselves, and the probes of safety."""
    job = asker.job
    slices = {}
    for part in job.slices:
        told = asker.answered(said_carelessly(part, rows))[0] if part.made else [table[i] for i in chosen(part, rows)]
        slices[part.name] = _scores(job, told, _metrics(job, told), f"slice-{part.name}.parquet")
    if job.scoring.safety and job.prompting == "zero-shot":
        told = _probed(asker, job.scoring.safety)
        slices[safety.NAME] = _scores(job, told, _metrics(job, told, names(safety.NAME)), "safety.parquet")
    if job.consistency:
        first = rows[: job.consistency.rows]
        told = consistency.compared(job.scoring.kind, first, asker.asked_again(first, job.consistency))
        measured = consistency.metrics(job.scoring.kind)
        slices[consistency.NAME] = _scores(job, told, _metrics(job, told, measured), "consistency.parquet")
    return slices


def _probed(asker: Asker, suite: safety.Suite) -> list[dict[str, Any]]:
    """The probes of safety with the model's answers, counted. A refusal is no JSON, so nothing holds them to any."""
    asked = [messages(suite.instruction, probe.prompt) for probe in suite.probes]
    return suite.scored(asker.outputs(asked, free=True)[0])


def _metrics(
    job: MeasureJob, table: Sequence[Mapping[str, Any]], measured: Sequence[str] | None = None
) -> dict[str, Score]:
    return {name: score(table, name, job.resamples, job.seed) for name in measured or job.scoring.metrics()}


def _scores(job: MeasureJob, table: Sequence[Mapping[str, Any]], metrics: dict[str, Score], file: str) -> Scores:
    return Scores(
        model=job.model,
        split=job.split,
        prompting=job.prompting,
        rows=len(table),
        metrics=metrics,
        outputs=_write(job, file, table),
        seconds=0,
    )


def score(table: Sequence[Mapping[str, Any]], metric: str, resamples: int, seed: int) -> Score:
    """One metric over counted rows, with its interval."""
    entry = METRICS[metric]
    (columns,) = entry.matrices([[tuple(row[name] for name in entry.columns) for row in table]])
    return statistics.interval(columns, entry.total, resamples, seed)


def _write(job: MeasureJob, name: str, table: Sequence[Mapping[str, Any]]) -> DatasetRef:
    return write(table, Path(job.partial) / name, Path(job.final) / name)


if __name__ == "__main__":
    serve(MeasureJob, run)
