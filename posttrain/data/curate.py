"""Curation: from valid rows to the rows worth training on; every dropped row keeps its reason.

Runs the steps, each a pure function in its own file, in this order: clean, exact, near, decontaminate, split, mix.
To add one: write the file, call it in `_domain`. Knows nothing of files as users write them; reads and writes
references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from posttrain.artifacts import DatasetRef, Done, Frozen, Stage, Workspace, run_stage
from posttrain.data import labels
from posttrain.data.clean import clean
from posttrain.data.decontaminate import decontaminate
from posttrain.data.dedup import clusters, exact, near
from posttrain.data.mix import mix
from posttrain.data.parquet import read_rows, write_rows
from posttrain.data.rows import Dropped, Row, examples, shorten
from posttrain.data.split import split
from posttrain.data.validate import REASON, ValidateResult
from posttrain.errors import DataError
from posttrain.progress import Progress
from posttrain.spec.sections.curate import CurateSpec
from posttrain.spec.sections.task import TaskSpec

GENERAL = "general"


class FunnelStep(Frozen):
    """One step: rows before and after, why, and the first few rows that it dropped or changed."""

    step: str
    rows_in: int
    rows_out: int
    reason: str
    examples: tuple[str, ...]


class CurateResult(Frozen):
    """The three splits with their system messages, the general held-out rows, and what was dropped.

    Rows have a `group`: the intent (intent_slots), "general", or "". `dropped` has every column of a row, then rule,
    value, threshold, split and twin. The funnel counts the rows to train on; its last step adds general rows.
    """

    train: DatasetRef
    validation: DatasetRef
    test: DatasetRef
    general_held_out: DatasetRef | None
    dropped: DatasetRef
    funnel: tuple[FunnelStep, ...]


@dataclass
class _Funnel:
    """Keeps count while rows pass through the steps."""

    steps: list[FunnelStep] = field(default_factory=list)
    dropped: list[Row] = field(default_factory=list)

    def drop(self, step: str, reason: str, before: int, found: Sequence[Dropped], name: str = "train") -> None:
        """Note a step that dropped rows of a split; only the train split's steps appear in the funnel."""
        self.dropped += [item.record(name) for item in found]
        if name == "train":
            self.note(step, before, before - len(found), reason, examples(found))

    def note(self, step: str, rows_in: int, rows_out: int, reason: str, shown: tuple[str, ...] = ()) -> None:
        """Add a line to the funnel."""
        self.steps.append(FunnelStep(step=step, rows_in=rows_in, rows_out=rows_out, reason=reason, examples=shown))


def curate(
    validated: ValidateResult, task: TaskSpec, spec: CurateSpec, workspace: Workspace, progress: Progress
) -> Done[CurateResult]:
    """Clean, de-duplicate, decontaminate, split and mix. Raises `DataError` when no row is left to train on."""
    splits = ("train", "test", "general", "general_held_out")
    refs: dict[str, DatasetRef | None] = {name: getattr(validated, name) for name in splits}
    inputs = {
        "rows": {name: ref and ref.fingerprint for name, ref in refs.items()},
        "task": task,
        "spec": spec,
    }
    stage = Stage("curate", inputs, CurateResult, code=("posttrain.data",), libraries=("datasketch", "pyarrow"))

    def work(partial: Path, final: Path) -> CurateResult:
        progress(0, 6, "reading rows")
        rows = {name: read_rows(ref) if ref else [] for name, ref in refs.items()}
        return _curate(rows, task, spec, partial, final, progress)

    return run_stage(workspace, stage, work)


def _curate(
    rows: dict[str, list[Row]], task: TaskSpec, spec: CurateSpec, partial: Path, final: Path, progress: Progress
) -> CurateResult:
    funnel = _Funnel()
    test, _ = clean(rows["test"])
    held_out, _ = clean(rows["general_held_out"])
    measured = test + held_out
    domain = _domain(rows["train"], measured, spec, funnel, progress)
    general = _general(rows["general"], measured, spec, funnel)
    progress(4, 6, "splitting")
    domain = [_with_task(row, task) for row in domain]
    groups = clusters(domain, min(spec.near_duplicates, 0.99))
    train, validation = split(domain, spec.validation_rows, spec.seed, groups)
    funnel.note("split", len(domain), len(train), f"{len(validation):,} rows kept for validation, in proportion")
    if not train:
        raise DataError(
            f"data.train: 0 rows are left to train on after curation ({_story(funnel)}), expected at least 1; "
            "add rows or loosen curate.near_duplicates and curate.decontaminate_ngram"
        )
    mixed, added = mix(train, general, spec.general_share, spec.max_rows, spec.seed)
    shown = tuple(shorten(row["prompt"]) for row in mixed if row["group"] == GENERAL)[:3]
    reason = f"{added:,} of {len(general):,} general rows added ({added / len(mixed):.1%} of the mix)"
    if len(mixed) - added < len(train):
        reason += f"; {len(train) - len(mixed) + added:,} rows left out by max_rows"
    funnel.note("mix", len(train), len(mixed), reason, shown)
    progress(5, 6, "writing rows")
    written = {"train": mixed, "validation": validation, "test": [_with_task(row, task) for row in test]}
    refs = {name: write_rows(partial / f"{name}.parquet", found, final, ("group",)) for name, found in written.items()}
    kept = [{**row, "group": GENERAL} for row in held_out]
    return CurateResult(
        **refs,
        general_held_out=write_rows(partial / "general_held_out.parquet", kept, final, ("group",)) if kept else None,
        dropped=write_rows(partial / "dropped.parquet", funnel.dropped, final, REASON),
        funnel=tuple(funnel.steps),
    )


def _domain(
    rows: list[Row], measured: Sequence[Row], spec: CurateSpec, funnel: _Funnel, progress: Progress
) -> list[Row]:
    """The task's own rows through every dropping step."""
    progress(1, 6, "cleaning")
    kept, changed = clean(rows)
    shown = tuple(f"{row['source']}: {shorten(repr(row['prompt']))}" for row in changed[:3])
    funnel.note("clean", len(rows), len(kept), f"{len(changed):,} rows had blanks or characters to tidy", shown)
    before = len(kept)
    kept, dropped = exact(kept)
    funnel.drop("exact", "same label, same words but for case and punctuation", before, dropped)
    progress(2, 6, "finding near-duplicates")
    before = len(kept)
    kept, dropped = near(kept, spec.near_duplicates)
    funnel.drop("near", f"same label, Jaccard similarity of {spec.near_duplicates:g} or more", before, dropped)
    progress(3, 6, "decontaminating")
    before = len(kept)
    kept, dropped = decontaminate(kept, measured, spec.decontaminate_ngram)
    reason = f"same prompt as a held-out row, or {spec.decontaminate_ngram} consecutive words of it"
    funnel.drop("decontaminate", reason, before, dropped)
    return kept


def _general(rows: list[Row], measured: Sequence[Row], spec: CurateSpec, funnel: _Funnel) -> list[Row]:
    """General rows through the same steps; the instruction of the task is not theirs."""
    kept, _ = clean(rows)
    kept, repeated = exact(kept)
    kept, alike = near(kept, spec.near_duplicates)
    kept, leaked = decontaminate(kept, measured, spec.decontaminate_ngram)
    funnel.drop("general", "", len(rows), [*repeated, *alike, *leaked], GENERAL)
    return [{**row, "group": GENERAL} for row in kept]


def _with_task(row: Row, task: TaskSpec) -> Row:
    """The row with the task's instruction, unless it has a system message of its own, and its group."""
    group = labels.intent(row["completion"]) if task.kind == "intent_slots" else ""
    return {**row, "system": row["system"] or task.instruction, "group": group}


def _story(funnel: _Funnel) -> str:
    return ", ".join(f"{step.step} {step.rows_in:,} to {step.rows_out:,}" for step in funnel.steps)
