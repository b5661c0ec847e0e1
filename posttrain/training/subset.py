"""A part of the training rows, for a learning curve. Nested: a smaller part lies within every larger one.

Curation has shuffled the rows by its seed, so the first of them are as good a draw as any; the mix of domain and
general rows is the same but for chance. Knows nothing of training.
"""

from __future__ import annotations

from pathlib import Path

from posttrain.artifacts import DatasetRef, Done, Frozen, Stage, Workspace, file_digest, run_stage


class Subset(Frozen):
    """The rows, as a file of their own."""

    train: DatasetRef


def subset(train: DatasetRef, rows: int, workspace: Workspace) -> Done[Subset]:
    """The first `rows` of the training rows (at least one); found again when it was made before."""
    import pyarrow.parquet as parquet

    stage = Stage("subset", {"train": train.fingerprint, "rows": rows}, Subset, ("posttrain.training.subset",))

    def work(partial: Path, final: Path) -> Subset:
        path = partial / "train.parquet"
        parquet.write_table(parquet.read_table(train.uri).slice(0, max(1, rows)), path, compression="zstd")
        ref = DatasetRef(uri=str(final / path.name), fingerprint=file_digest(path), rows=min(max(1, rows), train.rows))
        return Subset(train=ref)

    return run_stage(workspace, stage, work)
