"""The validate stage: every row is read and checked; rows unfit for use are quarantined, never deleted.

For each split: a first pass holds batches against the rules on single rows, where the engine says; then come the rules
that compare rows; then Great Expectations has its say and leaves Data Docs; a second pass writes what goes on. Rows of
the test and general_held_out splits are only warned about: what is measured stays as it was published.

Memory holds sketches and samples, never all rows. Knows nothing of curation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from posttrain.artifacts import Done, Stage, Workspace, run_stage
from posttrain.data import load
from posttrain.data.account.verdicts import Verdicts
from posttrain.data.engine import Engine, Local
from posttrain.data.formats import TEXTS
from posttrain.data.validate import refuse
from posttrain.data.validate.assertion import Assertion, on_counts, settle_whole
from posttrain.data.validate.examine import PROBLEM, Examine, Examined
from posttrain.data.validate.intake import take_in
from posttrain.data.validate.publish import merge, write_split
from posttrain.data.validate.result import SPLITS, TRAINED_ON, ValidateResult
from posttrain.data.validate.settle import Part, compare
from posttrain.data.validate.suites import SplitSuite, check_names, suite_of
from posttrain.progress import Progress
from posttrain.spec.sections.data import DataSpec, Source
from posttrain.spec.sections.task import TaskSpec
from posttrain.spec.sections.validate import ValidateSpec


def validate(
    data: DataSpec,
    task: TaskSpec,
    spec: ValidateSpec,
    workspace: Workspace,
    progress: Progress,
    root: Path,
    engine: Engine | None = None,
    verdicts: Verdicts | None = None,
) -> Done[ValidateResult]:
    """Read and check every row of the spec's files; relative paths start at `root`.

    Args:
        engine: where batches are examined; None: in this process. The result does not depend on it.
        verdicts: what people have said of rows; a row that they restored from a rule is only warned about.

    Raises: `DataError` for files that cannot be read and suites that are not as they should be, when a split has no
    rows left, when a rule of severity stop is broken, when more rows break a rule than its `max_share`, or when more
    than `max_quarantined` of the rows to train on are quarantined; `SpecError` for a rule that does not exist.
    """
    sources: dict[str, Sequence[Source]] = {name: found for name in SPLITS if (found := getattr(data, name, ()))}
    digests = {split: load.digests(found, root, split) for split, found in sources.items()}
    suites = [suite_of(split, load.row_kind(found, root, split), task, spec, root) for split, found in sources.items()]
    check_names(suites, spec)
    rules = {name for suite in suites for name in suite.book.names}
    said = verdicts.about(rules) if verdicts is not None else None
    stage = Stage(
        "validate",
        {
            "sources": digests,
            "task": task.kind,
            "spec": spec,
            "suites": {suite.split: [suite.name, suite.digest] for suite in suites},
            "verdicts": said.digest if said is not None else "",
        },
        ValidateResult,
        code=("posttrain.data", "expectations"),
        libraries=("great-expectations", "pandas", "polars", "pyarrow"),
    )
    return run_stage(workspace, stage, _Work(sources, suites, spec, root, engine or Local(), said, progress))


@dataclass(frozen=True)
class _Work:
    """Everything the stage needs, once it is known that it must run."""

    sources: dict[str, Sequence[Source]]
    suites: Sequence[SplitSuite]
    spec: ValidateSpec
    root: Path
    engine: Engine
    verdicts: Verdicts | None
    progress: Progress

    def __call__(self, partial: Path, final: Path) -> ValidateResult:
        from expectations.checkpoint import Checkpoint

        self.progress(0, 10, "starting Great Expectations")
        checkpoint = Checkpoint(partial / "data_docs")
        assertions = {
            suite.split: Assertion(checkpoint, suite.split, suite.name, suite.book, suite.kind) for suite in self.suites
        }
        parts = [self._through_rules(suite, partial) for suite in self.suites]
        refuse.too_few(parts, self.spec.max_quarantined)
        for index, part in enumerate(parts):
            self.progress(4 + 3 * index / len(parts), 10, f"checking {part.split}")
            _assert(part, assertions[part.split])
        refuse.too_few(parts, self.spec.max_quarantined)
        self.progress(7, 10, "building Data Docs")
        checkpoint.build_docs()
        self.progress(8, 10, "writing rows")
        return _published(parts, partial, final)

    def _through_rules(self, suite: SplitSuite, partial: Path) -> Part:
        split, heeded = suite.split, suite.split in TRAINED_ON
        columns = ("id", "source", *TEXTS[suite.row_kind], *load.kept_columns(self.sources[split]))
        examine = ReadAndExamine(Examine(suite.book, split, suite.kind, heeded, self.verdicts), columns)
        read = self.engine.map(examine, load.blocks(self.sources[split], self.root, split))
        intake = take_in(split, _readable(read), partial, self.progress)
        part = Part(intake, suite.book, heeded, self.verdicts)
        compare(part)
        refuse.too_many(part)
        return part


@dataclass(frozen=True)
class ReadAndExamine:
    """A block of a file to what the rules say of its rows, and how they could be read.

    `columns` are those of the split: a source may keep columns that another of its sources does not have.
    """

    examine: Examine
    columns: tuple[str, ...]

    def __call__(self, block: load.Block) -> tuple[pl.DataFrame, Examined]:
        """Parse and examine one block."""
        rows = load.parse(block)
        lacking = [pl.lit("").alias(name) for name in self.columns if name not in rows.columns]
        rows = rows.with_columns(lacking).select(*self.columns, *PROBLEM)
        return rows.select("source", *PROBLEM), self.examine(rows)


def _readable(found: Iterator[tuple[pl.DataFrame, Examined]]) -> Iterator[Examined]:
    """The examined batches. Raises `DataError` after a file too many of whose rows cannot be read."""
    waiting: deque[Examined] = deque()

    def frames() -> Iterator[pl.DataFrame]:
        for frame, examined in found:
            if frame.height:
                waiting.append(examined)
                yield frame

    for _ in load.refusing_unreadable(frames()):
        yield waiting.popleft()


def _assert(part: Part, assertion: Assertion) -> None:
    """Great Expectations on a split, and what is about its rows as a whole."""
    for item in assertion.hold(part):
        if item.expectation not in [entry.expectation for entry in part.book.on_counts]:
            settle_whole(part, item.expectation, item.observed)
    for expectation, observed in on_counts(part):
        settle_whole(part, expectation, observed)
    refuse.too_many(part)


def _published(parts: Sequence[Part], partial: Path, final: Path) -> ValidateResult:
    refs = {part.split: write_split(part, partial, final) for part in parts}
    for part in parts:
        refuse.too_many(part)
    quarantine, warned = merge(parts, partial, final)
    train, test = refs["train"], refs["test"]
    assert train, "a split without rows was refused"
    assert test
    return ValidateResult(
        train=train,
        test=test,
        general=refs.get("general"),
        general_held_out=refs.get("general_held_out"),
        preference=refs.get("preference"),
        quarantine=quarantine,
        warned=warned,
        rules=tuple(count for part in parts for count in refuse.counts(part)),
        rows_in=sum(part.intake.received for part in parts),
        rows_out=sum(part.left for part in parts),
        data_docs=str(final / "data_docs" / "index.html"),
    )
