"""`validate`: which rows are fit for use, and when bad rows stop the run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting

Split = Literal["train", "test", "general", "general_held_out", "preference"]
Share = Annotated[float, Field(ge=0, le=1)]


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_several, json_schema_input_type=str | list[str])]


class ValidateSpec(Frozen):
    """Which rows are fit for use; the rest is quarantined with rule and row, never deleted."""

    suite: str | dict[Split, str] = setting(
        "auto",
        "Great Expectations suite: a name in expectations/, or a JSON file; or one for each split. auto: that of the "
        "split's kind of row (prompt_completion, messages, preference, unpaired, rating).",
    )
    max_quarantined: float = setting(
        0.05, "The run stops when a larger share of rows than this is quarantined.", ge=0, le=1
    )
    min_length: int = setting(10, "Characters in a completion, at least; JSON and code are exempt.", source="S3", ge=0)
    max_length: int = setting(2000, "Characters in a completion, at most; JSON and code are exempt.", source="S3", ge=1)
    min_distinct_words: float = setting(
        0.70,
        "Distinct runs of words over all in a completion's most repetitive window; JSON and code are exempt.",
        source="S3",
        ge=0,
        le=1,
    )
    languages: Names = setting([], "Languages that completions may be in (ISO 639 codes: en, zh); empty: any.")
    severity: dict[str, Literal["quarantine", "warn", "stop"]] = Field(
        default_factory=dict,
        description="Rule → what happens to a row that breaks it: quarantine it, only warn, or stop the run.",
        json_schema_extra={"source": "this project"},
    )
    max_share: dict[str, Share] = Field(
        default_factory=dict,
        description="Rule → the run stops when a larger share than this of a split's rows breaks it.",
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
