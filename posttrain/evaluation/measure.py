"""The measuring stage: a model answers a split's prompts, and every metric of the task gets a value and interval.

    python -m posttrain.evaluation.measure job.json

It leaves every output in `outputs.parquet`, so that later comparisons need no model. Knows nothing of gates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from posttrain.artifacts import DatasetRef, Done, Frozen, ModelRef, Stage, Workspace, file_digest, run_stage
from posttrain.errors import DataError
from posttrain.evaluation import safety, statistics
from posttrain.evaluation.few_shot import FewShot, Selection, search
from posttrain.evaluation.generate import answer, context_length, token_ids
from posttrain.evaluation.kept_outputs import KeptOutputs
from posttrain.evaluation.metrics import MAIN, METRICS, names
from posttrain.evaluation.perplexity import surprise
from posttrain.evaluation.scores import Prompting, Score, Scores
from posttrain.evaluation.scoring import Scoring
from posttrain.evaluation.slices import Slice, chosen, said_carelessly
from posttrain.models.load import load_model, load_tokenizer
from posttrain.process import serve
from posttrain.progress import Progress, silent
from posttrain.prompts import Message, asked, messages

MODULE = "posttrain.evaluation.measure"
CODE = (
    "posttrain.evaluation",
    "posttrain.prompts",
    "posttrain.models.load",
    "posttrain.data.embedding",
    "posttrain.data.steps.harm",
    "posttrain.data.text.refusal",
    "posttrain.data.rules.label",
    "posttrain.data.text.words",
)
LIBRARIES = ("torch", "transformers", "peft")

Row = Mapping[str, str]


class TaskLike(Protocol):
    """The part of the spec's `task` section that is read here."""

    @property
    def kind(self) -> str: ...


class EvaluateLike(Protocol):
    """The spec's `evaluate` section."""

    @property
    def few_shot_examples(self) -> int: ...
    @property
    def few_shot_selection(self) -> Selection: ...
    @property
    def few_shot_search(self) -> bool: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def resamples(self) -> int: ...
    @property
    def perplexity_rows(self) -> int: ...
    @property
    def slices(self) -> Sequence[Any]: ...
    @property
    def seed(self) -> int: ...


class MeasureJob(Frozen):
    """All that a measuring process needs to know, in plain data."""

    model: ModelRef
    rows: DatasetRef
    split: str
    prompting: Prompting
    scoring: Scoring
    limit: int | None
    examples: DatasetRef | None
    few_shot: FewShot | None = None
    few_shot_search: bool = False
    general_held_out: DatasetRef | None
    perplexity_rows: int
    max_new_tokens: int
    batch_size: int
    resamples: int
    slices: tuple[Slice, ...] = ()
    seed: int
    kept_outputs: str = ""
    partial: str
    final: str


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


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the scores: data counts by content, wherever it lies."""
    return {key: value.fingerprint if isinstance(value, DatasetRef) else value for key, value in settings.items()}


def run(job: MeasureJob, progress: Progress = silent) -> Scores:
    """Load, generate, count, resample; writes `outputs.parquet` (and `general.parquet`) into `job.partial`."""
    began = time.monotonic()
    rows = _read(job.rows, job.limit)
    progress(0, len(rows), "loading the model")
    tokenizer = load_tokenizer(job.model)
    model = load_model(job.model, merge=True)
    if job.few_shot_search:
        job = job.model_copy(update={"few_shot": _searched(job, model, tokenizer, progress)})
    table, cut = _answered(job, rows, model, tokenizer, progress)
    metrics = _metrics(job, table)
    slices = {}
    for part in job.slices:
        told = _part(job, part, rows, table, model, tokenizer, progress)
        slices[part.name] = _scores(job, told, _metrics(job, told), f"slice-{part.name}.parquet")
    if job.scoring.safety and job.prompting == "zero-shot":
        told = _probed(job, job.scoring.safety, model, tokenizer, progress)
        slices[safety.NAME] = _scores(job, told, _metrics(job, told, names(safety.NAME)), "safety.parquet")
    general = None
    if job.general_held_out is not None:
        held_out = _read(job.general_held_out, job.perplexity_rows)
        surprises = surprise(model, tokenizer, held_out, batch_size=job.batch_size, progress=progress)
        if surprises:
            metrics["perplexity"] = score(surprises, "perplexity", job.resamples, job.seed)
            general = _write(job, "general.parquet", surprises)
    found = _scores(job, table, metrics, "outputs.parquet")
    seconds = round(time.monotonic() - began, 3)
    more = {"slices": slices, "general": general, "cut_prompts": cut, "seconds": seconds}
    return found.model_copy(update={**more, "few_shot": str(job.few_shot) if job.few_shot else ""})


def _searched(job: MeasureJob, model: Any, tokenizer: Any, progress: Progress) -> FewShot:
    """Which worked examples do best, on training rows that are shown to nobody."""
    main = METRICS[MAIN[job.scoring.kind]]

    def attempt(choice: FewShot, pool: Sequence[Row], rows: Sequence[Row]) -> float:
        prompts = _shown(job, choice, pool, rows, model, tokenizer)
        table = job.scoring.scored(rows, _outputs(job, prompts, model, tokenizer, progress)[0])
        return main.value([tuple(row[name] for name in main.columns) for row in table])

    assert job.examples is not None
    return search(_read(job.examples, None), attempt, job.seed)


def _answered(
    job: MeasureJob, rows: Sequence[Row], model: Any, tokenizer: Any, progress: Progress
) -> tuple[list[dict[str, Any]], int]:
    """(each row with its output and counts, how many prompts were cut to fit)."""
    outputs, cut = _outputs(job, _conversations(job, rows, model, tokenizer), model, tokenizer, progress)
    return job.scoring.scored(rows, outputs), cut


def _outputs(
    job: MeasureJob, conversations: Sequence[Sequence[Message]], model: Any, tokenizer: Any, progress: Progress
) -> tuple[list[str], int]:
    # A few-shot prompt may teach a base model the form of an answer without teaching it to stop.
    ends = job.prompting == "few-shot" and job.scoring.kind != "text"
    asked = {"model": job.model.fingerprint, "max_new_tokens": job.max_new_tokens, "end_at_blank_line": ends}
    with KeptOutputs(Path(job.kept_outputs or job.partial), asked) as kept:
        return answer(
            model,
            tokenizer,
            conversations,
            max_new_tokens=job.max_new_tokens,
            batch_size=job.batch_size,
            end_at_blank_line=ends,
            kept=kept,
            progress=progress,
        )


def _probed(
    job: MeasureJob, suite: safety.Suite, model: Any, tokenizer: Any, progress: Progress
) -> list[dict[str, Any]]:
    """The probes of safety with the model's answers, counted."""
    asked_for = [messages(suite.instruction, probe.prompt) for probe in suite.probes]
    return suite.scored(_outputs(job, asked_for, model, tokenizer, progress)[0])


def _part(
    job: MeasureJob,
    part: Slice,
    rows: Sequence[Row],
    table: Sequence[dict[str, Any]],
    model: Any,
    tokenizer: Any,
    progress: Progress,
) -> list[dict[str, Any]]:
    """The rows of a slice with their outputs: those that are there, or new answers to prompts with noise."""
    if part.made:
        return _answered(job, said_carelessly(part, rows), model, tokenizer, progress)[0]
    return [table[place] for place in chosen(part, rows)]


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


def _conversations(job: MeasureJob, rows: Sequence[Row], model: Any, tokenizer: Any) -> list[list[dict[str, str]]]:
    if job.few_shot is None or job.examples is None:
        return [asked(row) for row in rows]
    return _shown(job, job.few_shot or FewShot(examples=0), _read(job.examples, None), rows, model, tokenizer)


def _shown(
    job: MeasureJob, choice: FewShot, pool: Sequence[Row], rows: Sequence[Row], model: Any, tokenizer: Any
) -> list[list[Message]]:
    """Prompts with worked examples, as many as fit."""
    room = context_length(model) - job.max_new_tokens
    return choice.conversations(pool, rows, lambda turns: len(token_ids(tokenizer, turns)), room, job.seed)


def _read(rows: DatasetRef, limit: int | None) -> list[Row]:
    from pyarrow import parquet

    table = parquet.read_table(rows.uri)
    found: list[Row] = table.slice(0, limit).to_pylist() if limit is not None else table.to_pylist()
    if not found:
        raise DataError(f"{rows.uri}: holds no rows to measure on; give the spec's data section more rows")
    return found


def _write(job: MeasureJob, name: str, table: Sequence[Mapping[str, Any]]) -> DatasetRef:
    import pyarrow as arrow
    from pyarrow import parquet

    path = Path(job.partial) / name
    parquet.write_table(arrow.Table.from_pylist([dict(row) for row in table]), path, compression="zstd")
    return DatasetRef(uri=str(Path(job.final) / name), fingerprint=file_digest(path), rows=len(table))


if __name__ == "__main__":
    serve(MeasureJob, run)
