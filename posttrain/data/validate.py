"""Validation: every row is read and checked; rows unfit for use are quarantined with rule and row, never deleted.

Row rules run first, in plain Python; then a Great Expectations suite asserts on what is left, may set further rows
aside (a user's own suite), and leaves Data Docs of the rows as received and as they go on. Rows of the test and
general_held_out splits are only warned about: what is measured stays as it was published.

Knows nothing of curation. The only module of `posttrain` that uses Great Expectations.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.artifacts import DatasetRef, Done, Frozen, Stage, Workspace, file_digest, run_stage
from posttrain.data import labels
from posttrain.data.load import Loaded, digests, load
from posttrain.data.parquet import write_rows
from posttrain.data.rows import Dropped, Row, examples
from posttrain.data.rules import RULES, Context, Severity
from posttrain.errors import DataError, SpecError
from posttrain.progress import Progress
from posttrain.spec.sections.data import DataSpec
from posttrain.spec.sections.task import TaskSpec
from posttrain.spec.sections.validate import ValidateSpec

if TYPE_CHECKING:
    from expectations.checkpoint import Broken, Checkpoint

TRAINED_ON = ("train", "general")
SPLITS = ("train", "test", "general", "general_held_out")
REASON = ("rule", "value", "threshold", "split", "twin")


class RuleCount(Frozen):
    """How many rows of a split broke a rule, what happened to them, and the first of them in words."""

    rule: str
    severity: str
    rows: int
    split: str
    example: str


class ValidateResult(Frozen):
    """The rows that go on, by split, and what was set aside. `rows_in` and `rows_out` count all splits together.

    `quarantine` has every column of a row, then rule, value, threshold, split and twin; `warned` has the same for
    rows that broke a rule and yet go on. `data_docs` is the index page.
    """

    train: DatasetRef
    test: DatasetRef
    general: DatasetRef | None
    general_held_out: DatasetRef | None
    quarantine: DatasetRef
    warned: DatasetRef
    rules: tuple[RuleCount, ...]
    rows_in: int
    rows_out: int
    data_docs: str


@dataclass
class _Checked:
    """A split on its way through the rules."""

    split: str
    context: Context
    received: list[Row]
    rows: list[Row]
    counts: list[RuleCount] = field(default_factory=list)
    quarantined: list[Dropped] = field(default_factory=list)
    warned: list[Dropped] = field(default_factory=list)

    def settle(self, rule: str, severity: Severity, found: Sequence[Dropped]) -> None:
        """Act on the rows that broke a rule. Raises `DataError` when the rule's severity is stop."""
        if not found:
            return
        first = examples(found, 1)[0]
        if severity == "stop":
            one = found[0]
            raise DataError(
                f"{one.row['source']}: breaks rule {rule} (found {one.value}, expected {one.threshold}), one of "
                f"{len(found):,} in data.{self.split}; mend them or set validate.severity.{rule}: quarantine"
            )
        if severity == "quarantine" and self.split not in TRAINED_ON:
            severity = "warn"
        self.counts.append(RuleCount(rule=rule, severity=severity, rows=len(found), split=self.split, example=first))
        if severity == "warn":
            self.warned.extend(found)
            return
        self.quarantined.extend(found)
        gone = {item.row["id"] for item in found}
        self.rows = [row for row in self.rows if row["id"] not in gone]


def validate(
    data: DataSpec, task: TaskSpec, spec: ValidateSpec, workspace: Workspace, progress: Progress, root: Path
) -> Done[ValidateResult]:
    """Read and check every row of the spec's files; relative paths start at `root`.

    Raises: `DataError` for files that cannot be read, when a split has no rows left, when a rule of severity stop is
    broken, or when more than `max_quarantined` of the rows to train on are quarantined; `SpecError` for a severity
    of a rule that does not exist.
    """
    from expectations.checkpoint import read_suite, suite_path

    path = suite_path(spec.suite, root)
    suite = read_suite(path)
    _check_severities(spec, suite)
    inputs = {
        "sources": {split: digests(getattr(data, split), root, split) for split in SPLITS},
        "task": task.kind,
        "spec": spec,
        "suite": file_digest(path),
    }
    stage = Stage(
        "validate",
        inputs,
        ValidateResult,
        code=("posttrain.data", "expectations"),
        libraries=("great-expectations", "pandas", "pyarrow"),
    )

    def work(partial: Path, final: Path) -> ValidateResult:
        progress(0, 10, "reading rows")
        checked = [
            _check_rows(split, load(sources, root, split), task, spec)
            for split in SPLITS
            if (sources := getattr(data, split))
        ]
        _refuse_too_few(checked, spec)
        progress(2, 10, "starting Great Expectations")
        _assert_suite(checked, suite, spec, partial / "data_docs", progress)
        _refuse_too_few(checked, spec)
        progress(9, 10, "writing rows")
        return _publish(checked, partial, final)

    return run_stage(workspace, stage, work)


def _check_severities(spec: ValidateSpec, suite: Mapping[str, list[dict[str, dict[str, str]]]]) -> None:
    ours = [rule.name for rule in RULES]
    known = [*ours, *(str(item["type"]) for item in suite["expectations"])]
    known += [str(item["meta"]["rule"]) for item in suite["expectations"] if "rule" in item.get("meta", {})]
    for name in spec.severity:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(ours)}"
            raise SpecError(f"validate.severity.{name}: no such rule; {hint}")


def _check_rows(split: str, loaded: Loaded, task: TaskSpec, spec: ValidateSpec) -> _Checked:
    """Run the row rules in order; each sees only the rows that those before it let through."""
    kind = "text" if split.startswith("general") else task.kind
    checked = _Checked(split, Context(kind, spec, loaded.problems), loaded.rows, loaded.rows)
    for rule in RULES:
        found = list(rule.find(checked.rows, checked.context))
        checked.settle(rule.name, spec.severity.get(rule.name, rule.severity), found)
    return checked


def _refuse_too_few(checked: Sequence[_Checked], spec: ValidateSpec) -> None:
    for part in checked:
        if not part.rows:
            raise DataError(
                f"data.{part.split}: 0 of {len(part.received):,} rows are left after validation ({_reasons([part])}), "
                f"expected at least 1; mend the rows, or see data.{part.split}[0].format and task.kind"
            )
    trained = [part for part in checked if part.split in TRAINED_ON]
    total = sum(len(part.received) for part in trained)
    bad = sum(len(part.quarantined) for part in trained)
    if bad > spec.max_quarantined * total:
        where = " and ".join(f"data.{part.split}" for part in trained)
        raise DataError(
            f"{where}: {bad:,} of {total:,} rows ({bad / total:.1%}) would be quarantined ({_reasons(trained)}), "
            f"expected at most {spec.max_quarantined:.1%}; mend them or raise validate.max_quarantined"
        )


def _reasons(checked: Sequence[_Checked]) -> str:
    counts = [count for part in checked for count in part.counts if count.severity == "quarantine"]
    worst = sorted(counts, key=lambda count: -count.rows)
    first = f"; first {worst[0].example}" if worst else ""
    return ", ".join(f"{count.rule} {count.rows:,}" for count in worst) + first


# --- Great Expectations --------------------------------------------------------------------------------------


def _assert_suite(
    checked: Sequence[_Checked],
    suite: dict[str, object],
    spec: ValidateSpec,
    docs: Path,
    progress: Progress,
) -> None:
    """Check every split as received and, when trained on, as it goes on; what the suite adds is settled too."""
    from expectations.checkpoint import Checkpoint

    checkpoint = Checkpoint(suite, docs)
    for index, part in enumerate(checked):
        progress(4 + 4 * index / len(checked), 10, f"checking {part.split}")
        broken = _run(checkpoint, f"{part.split} as received", part.received, part)
        if part.split in TRAINED_ON:
            broken = _run(checkpoint, f"{part.split} after quarantine", part.rows, part)
        before = len(part.rows)
        _settle_suite(part, broken, spec)
        if len(part.rows) < before:
            _run(checkpoint, f"{part.split} after quarantine by the suite", part.rows, part)
    progress(8, 10, "building Data Docs")
    checkpoint.build_docs()


def _run(checkpoint: Checkpoint, name: str, rows: Sequence[Row], part: _Checked) -> list[Broken]:
    spec, kind = part.context.spec, part.context.kind
    thresholds = spec.model_dump(include={"min_length", "max_length", "min_distinct_words"})
    return checkpoint.run(name, [{**row, "style": _style(row, part)} for row in rows], {**thresholds, "kind": kind})


def _style(row: Row, part: _Checked) -> str:
    """What a suite's row conditions go by: label (of a JSON task), json (elsewhere) or prose."""
    if part.context.has_labels:
        return "label"
    return "json" if labels.is_json(row["completion"]) else "prose"


def _settle_suite(part: _Checked, broken: Sequence[Broken], spec: ValidateSpec) -> None:
    """Act on what the suite found beyond the row rules; an expectation on the whole table can only warn or stop."""
    ours = {rule.name for rule in RULES}
    for item in broken:
        default: Severity = "quarantine" if item.severity == "critical" else "warn"
        severity = spec.severity.get(item.rule, spec.severity.get(item.expectation, default))
        if item.ids:
            known = {found.row["id"] for found in (*part.quarantined, *part.warned) if found.rule == item.rule}
            if item.rule in ours and known.issuperset(item.ids):
                continue
            rows = {row["id"]: row for row in part.rows}
            found = [
                Dropped(rows[key], item.rule, "fails", item.expectation)
                for key in item.ids
                if key in rows and key not in known
            ]
            part.settle(item.rule, severity, found)
        elif severity != "warn" and part.split in TRAINED_ON:
            raise DataError(
                f"data.{part.split}: {item.expectation} fails (found {item.observed or 'otherwise'}); mend the data, "
                f"or set validate.severity.{item.rule}: warn"
            )
        else:
            part.counts.append(
                RuleCount(rule=item.rule, severity="warn", rows=0, split=part.split, example=item.observed)
            )


# --- results -------------------------------------------------------------------------------------------------


def _publish(checked: Sequence[_Checked], partial: Path, final: Path) -> ValidateResult:
    refs = {
        part.split: write_rows(partial / f"{part.split}.parquet", part.rows, final) for part in checked if part.rows
    }
    quarantined = [found.record(part.split) for part in checked for found in part.quarantined]
    warned = [found.record(part.split) for part in checked for found in part.warned]
    return ValidateResult(
        train=refs["train"],
        test=refs["test"],
        general=refs.get("general"),
        general_held_out=refs.get("general_held_out"),
        quarantine=write_rows(partial / "quarantine.parquet", quarantined, final, REASON),
        warned=write_rows(partial / "warned.parquet", warned, final, REASON),
        rules=tuple(count for part in checked for count in part.counts),
        rows_in=sum(len(part.received) for part in checked),
        rows_out=sum(len(part.rows) for part in checked),
        data_docs=str(final / "data_docs" / "index.html"),
    )
