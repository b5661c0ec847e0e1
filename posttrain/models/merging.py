"""Merging: base and adapter become one folder of weights, which is what is tested, registered and served.

    python -m posttrain.models.merging job.json

Rounding makes a merged model another one than base and adapter, if only by a little. So it is made before the test
split is opened, not after: what is promoted is, byte for byte, what was evaluated. Knows nothing of registries or rows.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field

from posttrain.artifacts import Done, Frozen, ModelRef, Stage, Workspace, digest, run_stage
from posttrain.models.load import content_digest
from posttrain.models.virtual import ADAPTER
from posttrain.process import launch, serve
from posttrain.progress import Progress, silent

MODULE = "posttrain.models.merging"
CODE = (
    MODULE,
    "posttrain.models.export",
    "posttrain.models.load",
    "posttrain.models.template",
    "posttrain.models.virtual",
)
LIBRARIES = ("torch", "transformers", "peft")


class MergeJob(Frozen):
    """A model with an adapter; `partial` is where the work is done, `final` where the folder will lie."""

    model: ModelRef
    partial: str
    final: str


class Merged(Frozen):
    """The merged model, and how it was found to be the one that was trained."""

    model: ModelRef
    error: float = Field(description="Largest difference of logits from base with adapter, of the largest logit.")
    effect: float | None = Field(description="The same of the base alone: what the adapter changes.")
    bytes: int = Field(description="Of the folder.")


def merge(model: ModelRef, workspace: Workspace, progress: Progress = silent) -> Done[Merged]:
    """Base and adapter as one folder, held against both; virtual tokens, which cannot be merged, lie in it apart.

    Raises: `ModelError` when the copy does not answer as base and adapter do, and when the adapter changes nothing;
    `StageCrashed` (worth another call).
    """
    stage = Stage("merge", {"model": model}, Merged, CODE, LIBRARIES)

    def work(partial: Path, final: Path) -> Merged:
        job = MergeJob(model=model, partial=str(partial), final=str(final))
        return launch(MODULE, job, partial, Merged, progress)

    return run_stage(workspace, stage, work)


def run(job: MergeJob, progress: Progress = silent) -> Merged:
    """Merge in this process; see `merge` for what may be raised."""
    from posttrain.models.export import save_merged

    progress(0, 1, "merging the adapter")
    folder, final = Path(job.partial, "model"), Path(job.final, "model")
    shutil.rmtree(folder, ignore_errors=True)
    likeness = save_merged(job.model, folder)
    apart = str(final / ADAPTER) if (folder / ADAPTER).is_dir() else None
    merged = ModelRef(
        base=str(final),
        adapter=apart,
        fingerprint=digest(content_digest(folder)),
        trust_remote_code=job.model.trust_remote_code,
    )
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Merged(model=merged, error=likeness.error, effect=likeness.effect, bytes=size)


if __name__ == "__main__":
    serve(MergeJob, run)
