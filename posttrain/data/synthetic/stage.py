"""Distillation as a stage, before validation: what the teacher wrote is published as a file of rows like any other.

The cache of calls lies beside the stages, in the workspace, and is shared by all of them: a stage with other settings
makes only the calls that are missing. Knows nothing of how teachers are asked (`distill.py`).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from posttrain.artifacts import DatasetRef, Done, Frozen, Stage, Workspace, file_digest, run_stage
from posttrain.data import load
from posttrain.data.funnel import FunnelStep
from posttrain.data.sift import REASON
from posttrain.data.synthetic import demonstrations
from posttrain.data.synthetic.distill import Distilled, distill
from posttrain.data.synthetic.teacher import Teacher
from posttrain.data.table import TableWriter
from posttrain.errors import DataError, TransientError
from posttrain.progress import Progress
from posttrain.spec.sections.data import DataSpec
from posttrain.spec.sections.synthetic import DistillSpec
from posttrain.spec.sections.task import TaskSpec

ROWS = "synthetic.parquet"
CALLS = "calls"


class DistillResult(Frozen):
    """What a teacher made: the rows, those set aside with their reasons, and what the calls came to.

    `cost` is of all calls that the rows rest on, `spent` of those that were made for them now, in the unit of the
    spec's prices; `requests` counts further tries; `stopped` says why calls were left
    out, "" when none was.
    """

    rows: DatasetRef
    set_aside: DatasetRef
    funnel: tuple[FunnelStep, ...]
    calls: int
    cached: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float
    spent: float
    stopped: str


def run(
    spec: DistillSpec, data: DataSpec, task: TaskSpec, workspace: Workspace, progress: Progress, root: Path
) -> Done[DistillResult]:
    """Ask the teacher; files are named from `root`.

    Raises: `ModelError` and `TransientError` as `distill` does; `DataError` for files that cannot be read.
    """
    inputs = {
        "spec": spec,
        "prompts": load.digests(spec.prompts, root, "train"),
        "known": load.digests(data.train, root, "train"),
        "reward": _reward_digest(spec, root),
        "teacher": Teacher(spec.teacher, workspace.root / CALLS, root).identity,
        "instruction": task.instruction,
    }
    stage = Stage("distill", inputs, DistillResult, code=("posttrain.data.synthetic",), libraries=("polars",))

    def work(partial: Path, final: Path) -> DistillResult:
        calls = workspace.root / CALLS
        calls.mkdir(parents=True, exist_ok=True)
        known = _known(data, task, root)
        prompts = _prompts(spec, root) if spec.prompts else known.head(0)
        made = distill(spec, prompts, calls, instruction=task.instruction, known=known, root=root, progress=progress)
        if made.unfinished:
            raise TransientError(f"synthetic.distill: {made.stopped}; {made.calls:,} answers are kept, run it again")
        if not made.rows.height:
            raise DataError(
                f"synthetic.distill: 0 of {made.calls:,} answers are left ({made.stopped or 'all set aside'}), "
                "expected at least 1; raise teacher.max_cost, lower best_of.at_least or mend the prompts"
            )
        return _publish(made, partial, final)

    return run_stage(workspace, stage, work)


def _known(data: DataSpec, task: TaskSpec, root: Path) -> pl.DataFrame:
    """Some of the task's own training rows: the manner in which new prompts are written."""
    sound = (
        rows.filter((pl.col("problem_rule") == "") & (pl.col("system").is_in(["", task.instruction])))
        for rows in load.read(data.train, root, "train")
    )
    drawn = demonstrations.pool(
        (rows.with_columns(system=pl.lit(task.instruction)) for rows in sound), task.instruction, 0
    )
    return pl.DataFrame(drawn, schema=dict.fromkeys(("id", "system", "prompt", "completion"), pl.String))


def _prompts(spec: DistillSpec, root: Path) -> pl.DataFrame:
    """Rows with a prompt; an answer is not needed, so that one is missing is no problem here."""
    rows = pl.concat((load.parse(block) for block in load.blocks(spec.prompts, root, "train")), how="diagonal")
    return rows.filter((pl.col("problem_rule") == "") | (pl.col("problem") == "completion empty"))


def _reward_digest(spec: DistillSpec, root: Path) -> str:
    if spec.best_of is None:
        return ""
    path = spec.best_of.reward.rpartition(":")[0]
    return file_digest(root / path) if (root / path).is_file() else "missing"


def _publish(made: Distilled, partial: Path, final: Path) -> DistillResult:
    tables = {
        ROWS: (made.rows, tuple(made.rows.columns)),
        "set_aside.parquet": (made.set_aside, tuple(dict.fromkeys((*made.set_aside.columns, *REASON)))),
    }
    refs: list[DatasetRef] = []
    for name, (rows, columns) in tables.items():
        with TableWriter(partial / name, columns) as writer:
            writer.write(rows)
        refs.append(writer.ref(final))
    return DistillResult(
        rows=refs[0],
        set_aside=refs[1],
        funnel=made.funnel,
        calls=made.calls,
        cached=made.cached,
        requests=made.requests,
        input_tokens=made.input_tokens,
        output_tokens=made.output_tokens,
        cost=made.cost,
        spent=made.spent,
        stopped=made.stopped,
    )
