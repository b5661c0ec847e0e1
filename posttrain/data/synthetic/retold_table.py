"""A training table and the rows made from it, as a second table: `augment.py` for more rows than fit into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from posttrain.data.engine import Engine
from posttrain.data.synthetic import demonstrations
from posttrain.data.synthetic.augment import COLUMNS, Augment
from posttrain.data.table import Table, TableWriter
from posttrain.spec.sections.synthetic import AugmentSpec


def retold(train: Table, spec: AugmentSpec, instruction: str, work: Path, engine: Engine) -> tuple[Table, Table]:
    """(the training rows, the rows made from them, in the file `work`).

    With `spec.replace` the first lacks the rows that others were made from. `instruction` is the task's, which the rows
    have as their system message already.
    """
    pool = demonstrations.pool(train.batches(), instruction, spec.seed) if spec.few_shot else ()
    parents: set[str] = set()
    with TableWriter(work, tuple(dict.fromkeys((*train.columns, *COLUMNS)))) as writer:
        for made in engine.map(Augment(spec, instruction, pool), train.batches()):
            writer.write(made)
            parents |= set(made["parent"]) if spec.replace else set()
    return (_less(train, parents) if parents else train), Table(work)


def _less(table: Table, ids: set[str]) -> Table:
    gone = pl.Series(sorted(ids))
    found = [batch.filter(pl.col("id").is_in(gone.implode()))[Table.INDEX] for batch in table.batches(["id"])]
    return table.without(np.concatenate([positions.to_numpy() for positions in found]))
