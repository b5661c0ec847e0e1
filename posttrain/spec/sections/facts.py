"""`curate.facts`: reference tables that the answers of rows are checked against."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting


class FactsSpec(Frozen):
    """One reference table; rows whose answer states another value than it go to review."""

    reference: str = required(
        "Table in the project's folder (.csv, .parquet, .jsonl): a column that names the entity and a column for each "
        "fact, or the columns entity, attribute, value.",
        min_length=1,
    )
    key: str | None = setting(None, "Column that names the entity a row is about; empty: entity, or the first one.")
    aliases: str | None = setting(None, "Column of other names of the entity, separated by |.")
    columns: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Column to check → other words for it in texts, e.g. {population: [inhabitants, 人口]}. Empty: "
        "every column, by its own name.",
        json_schema_extra={"source": "this project"},
    )
    units: dict[str, str] = Field(
        default_factory=dict,
        description="Column → unit of its numbers, e.g. {height: m}, where the table does not say.",
        json_schema_extra={"source": "this project"},
    )
    tolerance: float = setting(
        0.02,
        "Numbers may differ by this share, as prose rounds and units are converted; years, and whole numbers below "
        "1,000, may not.",
        ge=0,
    )
    patterns: list[str] = Field(
        default_factory=list,
        description="Regular expressions with the groups (?P<key>…), (?P<value>…) and (?P<column>…), or a group named "
        "like the column, for statements that looking does not find; searched in the answer.",
        json_schema_extra={"source": "this project"},
    )

    @field_validator("patterns")
    @classmethod
    def _have_groups(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                groups = re.compile(pattern).groupindex
            except re.error as error:
                raise ValueError(f"found {pattern!r}, expected a regular expression ({error}); mend it") from error
            if "key" not in groups or len(groups) < 2:
                raise ValueError(
                    f"found {pattern!r} with the groups {', '.join(groups) or 'none'}, expected key, value and column "
                    "(or key and a group named like a column); name the groups"
                )
        return patterns
