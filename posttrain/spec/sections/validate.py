"""`validate`: which rows are fit for use, and when bad rows stop the run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class ValidateSpec(Frozen):
    """Which rows are fit for use; the rest is quarantined with rule and row, never deleted."""

    suite: str = setting("prompt_completion", "Great Expectations suite: a name in expectations/, or a JSON file.")
    max_quarantined: float = setting(
        0.05, "The run stops when a larger share of rows than this is quarantined.", ge=0, le=1
    )
    min_length: int = setting(10, "Characters in a completion, at least; text tasks only.", source="S3", ge=0)
    max_length: int = setting(2000, "Characters in a completion, at most; text tasks only.", source="S3", ge=1)
    min_distinct_words: float = setting(
        0.70, "Distinct words over all words of a completion; JSON completions are exempt.", source="S3", ge=0, le=1
    )
    severity: dict[str, Literal["quarantine", "warn", "stop"]] = Field(
        default_factory=dict,
        description="Rule → what happens to a row that breaks it: quarantine it, only warn, or stop the run.",
        json_schema_extra={"source": "this project"},
    )

    @model_validator(mode="after")
    def _lengths_in_order(self) -> ValidateSpec:
        if self.min_length > self.max_length:
            raise ValueError(
                f"found min_length {self.min_length} above max_length {self.max_length}; "
                "lower min_length or raise max_length"
            )
        return self
