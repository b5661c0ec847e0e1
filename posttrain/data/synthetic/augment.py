"""Training rows told in other ways (S2): with worked examples, step by step or not, under another instruction.

For training rows after they were split: the made rows repeat their parents' prompts, and de-duplication would take
them for duplicates. Nothing here sees, let alone changes, a row of an evaluation split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from posttrain.data.rows import Row
from posttrain.data.synthetic import demonstrations
from posttrain.data.synthetic.chance import dice, share
from posttrain.data.synthetic.rationale import spelled_out, steps
from posttrain.data.synthetic.retell import AUGMENTED, as_dialog, retold
from posttrain.data.table import Table
from posttrain.spec.sections.synthetic import AugmentSpec

COLUMNS = ("origin", "parent", "retold", "messages")
"""Columns that made rows have beyond their parents'. `retold` is few_shot, step_by_step, answer_only or reworded."""


@dataclass(frozen=True)
class Augment:
    """Batch in, made rows out; the grouping into batches does not matter. Picklable.

    `instruction` is the task's; `pool` holds the rows to draw examples from (`demonstrations.pool`).
    """

    spec: AugmentSpec
    instruction: str = ""
    pool: tuple[Row, ...] = ()

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows made from these, all columns text, in the order of their parents."""
        rows = rows.drop(Table.INDEX, strict=False)
        columns = [*rows.columns, *(name for name in COLUMNS if name not in rows.columns)]
        made: list[Row] = []
        if "completion" in rows.columns:
            for row in rows.iter_rows(named=True):
                if row.get("origin", "") != AUGMENTED:
                    made += self._made(row)
        values = {name: [row.get(name, "") for row in made] for name in columns}
        return pl.DataFrame(values, schema=dict.fromkeys(columns, pl.String))

    def _made(self, row: Mapping[str, str]) -> Iterator[Row]:
        if self._drawn("few_shot", row) and demonstrations.fits(row, self.instruction):
            yield from self._few_shot(row)
        found = steps(row)
        if found and self._drawn("step_by_step", row):
            system = _joined(row["system"], self.spec.step_by_step_instruction)
            yield retold(row, "step_by_step", system, spelled_out(*found))
        if found and self._drawn("answer_only", row):
            yield retold(row, "answer_only", _joined(row["system"], self.spec.answer_only_instruction), found[1])
        if row["system"] == self.instruction and self._drawn("reworded", row):
            words = dice(self.spec.seed, "words", row["id"]).choice(self.spec.instructions)
            yield retold(row, "reworded", words, row["completion"])

    def _drawn(self, how: str, row: Mapping[str, str]) -> bool:
        return share(self.spec.seed, how, row["id"]) < float(getattr(self.spec, how))

    def _few_shot(self, row: Mapping[str, str]) -> Iterator[Row]:
        spec = self.spec
        examples = demonstrations.draw(self.pool, row, spec.few_shot_examples, spec.twin_similarity, spec.seed)
        if turns := demonstrations.fitted(examples, row, spec.few_shot_characters):
            yield as_dialog(row, "few_shot", turns)


def _joined(system: str, further: str) -> str:
    return "\n".join(part for part in (system, further) if part)


def augment(rows: pl.DataFrame, spec: AugmentSpec, instruction: str = "") -> pl.DataFrame:
    """Training rows with those made from them behind; with `spec.replace`, less the parents of these.

    `instruction` is the task's, which the rows have as their system message already.
    """
    pool = demonstrations.pool([rows], instruction, spec.seed) if spec.few_shot else ()
    made = Augment(spec, instruction, pool)(rows)
    kept = rows.filter(~pl.col("id").is_in(made["parent"].implode())) if spec.replace else rows
    lacking = [pl.lit("").alias(name) for name in made.columns if name not in kept.columns]
    return pl.concat([kept.with_columns(lacking).select(made.columns), made])
