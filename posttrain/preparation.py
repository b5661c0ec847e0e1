"""The data stages of a spec, with the arguments that each of them gets: distill, validate, curate.

One place for the flow, for `posttrain plan`, for `posttrain validate` and for a notebook, so that all of them find the
same stages. Knows nothing of Prefect.

    from posttrain.preflight import check
    from posttrain.preparation import Preparation

    data = Preparation.of(check(Path("pipelines/tickets.yaml")))
    rows = data.curate(data.validate().result).result
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from posttrain.artifacts import DatasetRef, Done, Workspace
from posttrain.data.account.row_verdict import beside
from posttrain.data.account.verdicts import Verdicts
from posttrain.data.curate import CurateResult, curate
from posttrain.data.engine import Engine, open_engine
from posttrain.data.synthetic.stage import DistillResult
from posttrain.data.synthetic.stage import run as run_distill
from posttrain.data.validate import ValidateResult, validate
from posttrain.preflight import Checked
from posttrain.progress import Progress, silent
from posttrain.spec import PipelineSpec, Source


@dataclass(frozen=True)
class Preparation:
    """A spec's data stages; `distilled` are the rows that a teacher made, once they are there."""

    spec: PipelineSpec
    root: Path
    workspace: Workspace
    base: str
    verdicts: Verdicts
    distilled: DatasetRef | None = None

    @classmethod
    def of(cls, checked: Checked, workspace: Workspace | None = None) -> Preparation:
        """For a spec that passed its checks; `workspace` may be one that only looks."""
        loaded = checked.loaded
        verdicts = Verdicts.read(beside(loaded.path))
        return cls(loaded.spec, loaded.root, workspace or checked.workspace, checked.base.base, verdicts)

    def distill(self, progress: Progress = silent) -> Done[DistillResult] | None:
        """Ask the teacher, if the spec has one. See `posttrain.data.synthetic.stage.run`."""
        spec = self.spec.synthetic.distill
        if spec is None:
            return None
        return run_distill(spec, self.spec.data, self.spec.task, self.workspace, progress, self.root)

    def with_rows(self, distilled: DatasetRef) -> Preparation:
        """The same stages, with a teacher's rows among those to train on."""
        return replace(self, distilled=distilled)

    def validate(self, progress: Progress = silent) -> Done[ValidateResult]:
        """Read and check every row. See `posttrain.data.validate.validate`."""
        data = self.spec.data
        if self.distilled:
            made = Source(
                path=os.path.relpath(self.distilled.uri, self.root), keep=["origin", "teacher", "parent", "rationale"]
            )
            data = data.model_copy(update={"train": [*data.train, made]})
        spec = self.spec
        return validate(
            data,
            spec.task,
            spec.validate_,
            self.workspace,
            progress,
            self.root,
            engine=self._engine,
            verdicts=self.verdicts,
        )

    def curate(self, validated: ValidateResult, progress: Progress = silent) -> Done[CurateResult]:
        """From valid rows to the rows worth training on. See `posttrain.data.curate.curate`."""
        spec = self.spec
        return curate(
            validated,
            spec.task,
            spec.curate,
            self.workspace,
            progress,
            self.root,
            verdicts=self.verdicts,
            base=self.base,
            synthetic=spec.synthetic,
            engine=self._engine,
        )

    @property
    def _engine(self) -> Engine:
        return open_engine(self.spec.resources.engine, self.spec.resources.threads or os.cpu_count() or 1)
