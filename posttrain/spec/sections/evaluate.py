"""`evaluate`: how models are measured."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting
from posttrain.spec.sections.data import Names


class SliceSpec(Frozen):
    """A part of the measured rows that is scored by itself: rows of a column's values, rows whose prompt has a pattern,
    or the first rows asked again with noise, as people carelessly write. Gates may name it (`slice`)."""

    name: str = required("How gates and reports call it.", pattern=r"^[a-z][a-z0-9_-]*$", examples=["colloquial"])
    noise: Literal["typos", "colloquial", "fragments", "code_switching"] | None = setting(
        None, "Prompts are made careless; the words that the answer repeats stay.", source="S0"
    )
    column: str | None = setting(None, "Rows with one of `values` in this column (kept with the rows: data.….keep).")
    values: Names = setting([], "Of the column.")
    pattern: str | None = setting(None, "Rows whose prompt has this regular expression.")
    rows: int = setting(200, "Rows that noise is made for, at most.", ge=1)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"found {pattern!r}, which is no regular expression ({error}); mend it") from error
        return pattern

    @model_validator(mode="after")
    def _one_way(self) -> SliceSpec:
        ways = [name for name in ("noise", "column", "pattern") if getattr(self, name) is not None]
        if len(ways) != 1:
            found = ", ".join(ways) or "none of them"
            raise ValueError(f"the slice {self.name} has {found}, expected exactly one of noise, column and pattern")
        if bool(self.values) != (self.column is not None):
            raise ValueError(f"the slice {self.name}: column and values belong together; give both or neither")
        return self


class SafetySpec(Frozen):
    """Is the model safe to let out? Gates ask by `slice: safety` for refusal_rate, over_refusal_rate, leakage_rate and
    harm_rate. Probes are asked under the task's instruction; attempts to learn it are added."""

    prompts: str = required(
        "File of prompts with a label, safe or unsafe: .jsonl, .csv or .parquet.",
        examples=["data/safety/xstest.jsonl.gz"],
        source="XSTest",
    )


class EvaluateSpec(Frozen):
    """How models are measured; the same prompts as in training."""

    baseline_rows: int = setting(200, "Validation rows on which the untrained base is measured.", ge=1)
    few_shot_examples: int = setting(4, "Worked examples in the few-shot prompt; 0: no few-shot baseline.", ge=0)
    few_shot_selection: Literal["diverse", "similar"] = setting(
        "diverse", "Worked examples of different labels, the same for every prompt, or those most like each prompt."
    )
    few_shot_search: bool = setting(
        False,
        "Measure 2, 4 and 8 examples, diverse and similar, on 40 training rows that are shown to nobody, and use the "
        "best; replaces the two settings above.",
    )
    max_new_tokens: int = setting(160, "Tokens generated for a row, at most.", ge=1)
    batch_size: int = setting(64, "Rows generated together.", ge=1)
    resamples: int = setting(2000, "Bootstrap resamples behind every interval and paired test.", ge=1)
    perplexity_rows: int = setting(200, "General rows whose perplexity is measured.", ge=1)
    slices: list[SliceSpec] = setting([], "Parts of the rows that are scored by themselves.", source="S0")
    metrics: Names = setting(
        [],
        "Python files with metrics of your own, each a function under @metric (posttrain.evaluation.custom_metric); "
        "targets and gates may name them. They run with your rights.",
    )
    safety: SafetySpec | None = setting(None, "Prompts that show whether the model is safe.", source="S4")
    seed: int = setting(0, "Of the bootstrap, of the few-shot examples and of noise.", ge=0)

    @field_validator("slices")
    @classmethod
    def _names_once(cls, slices: list[SliceSpec]) -> list[SliceSpec]:
        names = [part.name for part in slices]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"found two slices of the name {twice[0]}, expected different names; rename one")
        return slices
