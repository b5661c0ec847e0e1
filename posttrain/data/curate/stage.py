"""Curation: from valid rows to the rows worth training on; every row set aside keeps its reason.

The chart: sift each part (clean, row steps, table steps; `assemble.py` says which) → cut the validation split from the
domain's rows → blend the parts → write in random order. Knows nothing of files as users write them; reads and writes
references, and holds no more than some batches of rows at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from posttrain.artifacts import DatasetRef, Done, Frozen, Stage, Workspace, run_stage
from posttrain.data.account.verdicts import Verdicts
from posttrain.data.curate.arrange import write_in_order, write_shuffled
from posttrain.data.curate.assemble import Assembly, assemble, files_of
from posttrain.data.curate.blend import blend
from posttrain.data.curate.split import joined, validation_rows
from posttrain.data.engine import Engine, Local
from posttrain.data.funnel import Funnel, FunnelStep
from posttrain.data.rows import shorten
from posttrain.data.sift import REASON, sift
from posttrain.data.steps.agreement import Agreement, agreement
from posttrain.data.steps.annotators import RATINGS
from posttrain.data.steps.duplicates import clusters
from posttrain.data.synthetic.retold_table import retold
from posttrain.data.table import Table, TableWriter
from posttrain.data.text.preference_rules import LengthBias
from posttrain.data.validate import ValidateResult
from posttrain.errors import DataError
from posttrain.progress import Progress
from posttrain.spec.sections.curate import CurateSpec
from posttrain.spec.sections.synthetic import SyntheticSpec
from posttrain.spec.sections.task import TaskSpec

PARTS = ("train", "general", "preference", "test", "general_held_out")
GROUP = "group"


class CurateResult(Frozen):
    """The splits with their system messages, the general held-out rows, people's preferences, and what was set aside.

    Rows have a `group`: the intent (intent_slots), "general", or "". `dropped` has every column of a row, then rule,
    value, threshold, split, twin and verdict ("drop" or "review"). The funnel counts the rows to train on; its last
    step adds those of the other parts, whose own steps `other_funnels` counts. `agreement` is that of the annotators,
    where rows have ratings.
    """

    train: DatasetRef
    validation: DatasetRef
    test: DatasetRef
    general_held_out: DatasetRef | None
    preference: DatasetRef | None
    dropped: DatasetRef
    funnel: tuple[FunnelStep, ...]
    other_funnels: Mapping[str, tuple[FunnelStep, ...]] = {}
    agreement: Agreement | None = None


def curate(
    validated: ValidateResult,
    task: TaskSpec,
    spec: CurateSpec,
    workspace: Workspace,
    progress: Progress,
    root: Path,
    verdicts: Verdicts | None = None,
    base: str = "",
    synthetic: SyntheticSpec | None = None,
    engine: Engine | None = None,
) -> Done[CurateResult]:
    """Clean, filter, de-duplicate, decontaminate, split and mix.

    Relative paths of the spec start at `root`; `base` is the folder of the base model, for perplexity scores. The
    result does not depend on the `engine` (None: in this process).
    Raises `DataError` when no row is left to train on, or when a file that a step needs cannot be read.
    """
    verdicts, synthetic = verdicts or Verdicts(), synthetic or SyntheticSpec()
    refs: dict[str, DatasetRef | None] = {name: getattr(validated, name) for name in PARTS}
    inputs = {
        "rows": {name: ref and ref.fingerprint for name, ref in refs.items()},
        "task": task,
        "spec": spec,
        "files": files_of(spec, root),
        "synthetic": {"augment": synthetic.augment, "spot_check": synthetic.spot_check},
        "verdicts": verdicts.digest,
        "base": base if spec.scores.perplexity and not spec.scores.perplexity.model else "",
    }
    stage = Stage("curate", inputs, CurateResult, code=("posttrain.data",), libraries=("numpy", "polars", "pyarrow"))

    def work(partial: Path, final: Path) -> CurateResult:
        progress(0, 6, "reading rows")
        tables = {name: Table(Path(ref.uri)) for name, ref in refs.items() if ref}
        assembly = assemble(tables, task, spec, synthetic, root, verdicts, base, workspace.root / "models")
        curation = _Curation(tables, assembly, spec, partial, final, engine or Local(), progress)
        return curation.run()

    return run_stage(workspace, stage, work)


@dataclass
class _Curation:
    """One curation in progress: what every step of it needs."""

    tables: dict[str, Table]
    assembly: Assembly
    spec: CurateSpec
    partial: Path
    final: Path
    engine: Engine
    progress: Progress
    funnel: Funnel = field(default_factory=Funnel)
    other_funnels: dict[str, Funnel] = field(default_factory=dict)

    def run(self) -> CurateResult:
        """Everything, in the chart's order."""
        agreed = self._agreement()
        sifted = self._sift_all()
        domain = sifted["train"]
        self.progress(4, 6, "splitting")
        validation = self._validation(domain)
        train = domain.without(validation)
        self.funnel.note("split", domain.rows, train.rows, f"{len(validation):,} rows kept for validation")
        if not train.rows:
            raise DataError(
                f"data.train: 0 rows are left to train on after curation ({self.funnel.story()}), expected at least 1; "
                "add rows or loosen curate.near_duplicates and curate.decontaminate_ngram"
            )
        self.progress(5, 6, "mixing and writing")
        train, made = self._retold(train)
        origins = {"domain": train, "augmented": made, "general": sifted.get("general")}
        blended = blend(origins, self.assembly.kind, self.spec)
        self.funnel.note("mix", self.funnel.rows, blended.rows, blended.text, self._first_general(sifted))
        refs = {
            "train": self._shuffled("train", blended.chosen),
            "validation": self._written("validation", domain, validation),
            **{name: self._in_order(name, sifted.get(name)) for name in ("test", "general_held_out", "preference")},
        }
        self._clear()
        dropped = self.partial / "dropped.parquet"
        return CurateResult(
            **refs,
            dropped=_ref(dropped, self.final),
            funnel=tuple(self.funnel.steps),
            other_funnels={name: tuple(funnel.steps) for name, funnel in self.other_funnels.items()},
            agreement=agreed,
        )

    def _agreement(self) -> Agreement | None:
        """How well the annotators of the rows to train on agree, rows yet to be set aside among them."""
        level, train = self.spec.annotators.agreement, self.tables["train"]
        if level == "off" or RATINGS not in train.columns:
            return None
        found = agreement(train, self.engine, level)
        self.funnel.note("agreement", train.rows, train.rows, found.text())
        return found

    def _sift_all(self) -> dict[str, Table]:
        columns = list(dict.fromkeys(name for table in self.tables.values() for name in (*table.columns, GROUP)))
        sifted: dict[str, Table] = {}
        with TableWriter(self.partial / "dropped.parquet", (*columns, *REASON)) as aside:
            for number, (name, table) in enumerate(self.tables.items()):
                self.progress(1 + 3 * number / len(self.tables), 6, f"sifting {name}")
                funnel = self.funnel if name == "train" else self.other_funnels.setdefault(name, Funnel())
                work = self._work(name)
                sifted[name] = sift(table, name, self.assembly.sieves[name], aside, work, self.engine, funnel)
        if "preference" in sifted:
            self._length_bias(sifted["preference"])
        return sifted

    def _length_bias(self, pairs: Table) -> None:
        """What a judge may learn from pairs without anyone wanting it, noted where their rows are counted."""
        if {"chosen", "rejected"} <= set(pairs.columns):
            bias = sum((LengthBias.of(rows) for rows in pairs.batches(["chosen", "rejected"])), LengthBias())
            self.other_funnels["preference"].note("length_bias", pairs.rows, pairs.rows, bias.text)

    def _validation(self, domain: Table) -> np.ndarray:
        """Positions of the validation rows in the domain's file, in random order."""
        spec = self.spec
        together = clusters(domain, min(spec.near_duplicates, 0.99), self.engine)
        if spec.keep_together:
            together = joined(together, _column(domain, spec.keep_together, "curate.keep_together"))
        groups = _column(domain, GROUP, GROUP)
        chosen: np.ndarray = domain.positions[validation_rows(groups, together, spec.validation_rows, spec.seed)]
        return chosen

    def _retold(self, train: Table) -> tuple[Table, Table | None]:
        """The training rows, and those made from them if the spec asks for any."""
        spec = self.assembly.augment
        if not spec.makes_rows:
            return train, None
        before = train.rows
        train, made = retold(train, spec, self.assembly.instruction, self._work("augmented"), self.engine)
        self.funnel.note("augment", before, train.rows + made.rows, f"{made.rows:,} rows told in other ways")
        return train, made

    def _first_general(self, sifted: dict[str, Table]) -> tuple[str, ...]:
        if "general" not in sifted:
            return ()
        first = next(sifted["general"].batches(["prompt"]), None)
        return tuple(shorten(prompt) for prompt in first["prompt"][:3]) if first is not None else ()

    def _shuffled(self, name: str, chosen: list[tuple[Table, np.ndarray]]) -> DatasetRef:
        columns = list(dict.fromkeys(name for table, _ in chosen for name in table.columns))
        writer = write_shuffled(self.partial / f"{name}.parquet", chosen, columns, self.spec.seed)
        return writer.ref(self.final)

    def _written(self, name: str, table: Table, positions: np.ndarray) -> DatasetRef:
        return self._shuffled(name, [(table, positions)])

    def _in_order(self, name: str, table: Table | None) -> DatasetRef | None:
        if table is None:
            return None
        return write_in_order(self.partial / f"{name}.parquet", table, table.columns).ref(self.final)

    def _work(self, name: str) -> Path:
        return self.partial / f".sifted-{name}.parquet"

    def _clear(self) -> None:
        for work in self.partial.glob(self._work("*").name):
            work.unlink()


def _column(table: Table, name: str, key: str) -> pl.Series:
    """One column of the rows that are there. Raises `DataError` when the rows have none of that name."""
    if name not in table.columns:
        raise DataError(f"{key}: found columns {', '.join(table.columns)}, expected {name}; name one of them")
    found = [batch[name] for batch in table.batches([name])]
    return pl.concat(found) if found else pl.Series(name, [], dtype=pl.String)


def _ref(path: Path, final: Path) -> DatasetRef:
    from posttrain.artifacts import file_digest

    return DatasetRef(uri=str(final / path.name), fingerprint=file_digest(path), rows=Table(path).rows)
