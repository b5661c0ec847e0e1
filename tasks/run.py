"""What the tasks of one pipeline run share: the spec, the workspace, the MLflow parent run, and the live display.

A task opens `run.stage(name)` around its one call; what the stage did is then shown, timed and tracked in one
place. Knows nothing of what any stage does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from prefect import runtime

from posttrain import tracking
from posttrain.artifacts import Done, ModelRef
from posttrain.faults import weigh
from posttrain.gates import Verdict
from posttrain.preflight import Checked
from posttrain.preparation import Preparation
from posttrain.spec import PipelineSpec
from posttrain.strategy import Decision
from posttrain.training.search_sft import with_values
from tasks import show
from tasks.policy import note
from tasks.turns import DEVICES_VARIABLE
from tasks.watch import listener


class Run:
    """One run of a pipeline. Use as a context manager: it closes the MLflow parent run as the flow ended.

    The MLflow store is opened with the first finished stage, so that input which is refused before that leaves
    nothing behind.
    """

    def __init__(self, checked: Checked) -> None:
        loaded = checked.loaded
        self.loaded = loaded
        self.spec: PipelineSpec = loaded.spec
        self.root: Path = loaded.root
        self.base: ModelRef = checked.base
        self.workspace = checked.workspace
        self.preparation = Preparation.of(checked)
        self.stages: dict[str, Done[Any]] = {}
        self.decisions: list[Decision] = []
        self.verdicts: list[Verdict] = []
        self.bad_cases = ""
        self.tracking_uri = ""
        self._parent: str | None = None
        self._closing = ExitStack()

    @property
    def mlflow_run_id(self) -> str:
        """The parent run, opened on first use."""
        if self._parent is None:
            self.tracking_uri = tracking.connect(self.root, self.spec.name)
            tags = {"posttrain.spec_file": str(self.loaded.path), **_prefect_tags()}
            begun = tracking.pipeline_run(
                self.spec.name,
                self.loaded.text,
                tags,
                flow=str(runtime.flow_run.flow_name or ""),
                params=self.loaded.spec.model_dump(mode="json", exclude_unset=True),
            )
            self._parent = self._closing.enter_context(begun)
        return self._parent

    @property
    def model_name(self) -> str:
        """The name in the registry: the spec's, or the pipeline's own."""
        return self.spec.register_.model_name or self.spec.name

    def hold(self, held: AbstractContextManager[object]) -> None:
        """Enter it now, and leave it when the run ends."""
        self._closing.enter_context(held)

    def adopt(self, values: Mapping[str, Any]) -> None:
        """Go on with these values of the `sft` section: those that a search found best."""
        self.spec = with_values(self.spec, values)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.__exit__(kind, error, trace)

    @contextmanager
    def stage(self, name: str) -> Iterator[StageRun]:
        """Around a task's call: tell the display what begins and how it ends."""
        listener().started(name)
        stage = StageRun(self, name)
        try:
            yield stage
        except Exception as error:
            self._failed(name, error)
            raise
        listener().finished(name, stage.seconds, stage.reused, stage.summary)

    def _failed(self, name: str, error: Exception) -> None:
        """Decide by the class of the fault whether the task is tried again, and tell the display and the UI."""
        resources = self.spec.resources
        attempt = int(runtime.task_run.run_count or 1)
        scheduled = DEVICES_VARIABLE in os.environ
        retry = weigh(error, attempt, resources.retries, resources.retry_delay_seconds, unattended=scheduled)
        note(error, retry)
        if retry is None or not runtime.task_run.id:
            listener().failed(name, str(error))
            return
        show.tries(name, retry)
        if retry.again:
            listener().retried(name, attempt, f"{retry.kind}: {error}")
        else:
            listener().failed(name, str(error))


@dataclass
class StageRun:
    """A task's call in progress."""

    run: Run
    name: str
    summary: str = ""
    reused: bool = False
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._bar = show.ProgressBar(self.name)

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Pass on how far the stage has come."""
        listener().progressed(self.name, done, total, note)
        self._bar.show(done, total, note)

    def finish(self, done: Done[Any], summary: str, **logged: Any) -> None:
        """Note a finished stage and log it as a nested MLflow run; `logged` as in `tracking.log_stage`."""
        self.reused, self.seconds, self.summary = done.reused, done.seconds, summary
        self.run.stages[self.name] = done
        self._bar.end()
        logged_as = tracking.log_stage(self.run.mlflow_run_id, done, label=self.name, **logged)
        show.link(f"{self.name}-mlflow", tracking.run_page(logged_as), f"{self.name} in MLflow")

    def note(self, summary: str) -> None:
        """The end of a quick step that publishes no folder."""
        self.summary, self.seconds = summary, time.monotonic() - self._began


def _prefect_tags() -> dict[str, str]:
    flow_run = runtime.flow_run
    return {"prefect.flow_run_id": str(flow_run.id), "prefect.flow_run_name": str(flow_run.name)} if flow_run.id else {}
