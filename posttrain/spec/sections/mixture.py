"""`curate.mixture`: which parts the training set is mixed from, and in which proportions."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class PartSpec(Frozen):
    """One part of the mix. In a spec a bare number stands for a weight with every default."""

    weight: float = setting(
        1.0, "Its share against the other parts' weights: 7 and 1 are seven rows to one; 0 leaves it out.", ge=0
    )
    max_rows: int | None = setting(None, "At most this many of its rows, each pass.", ge=1)
    epochs: float = setting(
        1.0,
        "How often a small part may be gone through to reach its share; 1 never repeats a row. Up to 4 passes teach "
        "about as much as fresh rows.",
        source="Muennighoff 2023 (arXiv:2305.16264)",
        ge=1,
    )
    matches: str | None = setting(
        None, "Regular expression: rows whose prompt or answer it matches belong to this part, not to their file's."
    )
    column: str | None = setting(
        None, 'Column of the data: rows where it is neither empty, "0" nor "false" belong to this part.'
    )

    @field_validator("matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"found {pattern!r}, expected a regular expression ({error}); mend it") from error
        return pattern


def _part(value: Any) -> Any:
    return {"weight": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


OnePart = Annotated[PartSpec, BeforeValidator(_part, json_schema_input_type=float | PartSpec)]

OWN_PARTS = ("domain", "general", "multi_turn", "safety")
"""Parts that need neither `matches` nor `column`: by file, by the number of user turns, by what an answer refuses."""


class MixtureSpec(Frozen):
    """Parts and weights of the training mix; domain rows are taken whole, the other parts follow their weights."""

    parts: dict[str, OnePart] = Field(
        default_factory=dict,
        description="Part → weight, or weight with limits. domain and general are the files of data.train and "
        "data.general; multi_turn (two user turns or more) and safety (answers that refuse) are found by "
        "looking; any other name, e.g. edge_cases, needs `matches` or `column`. A row belongs to the first part it "
        "fits, in the order written here, domain and general last. Empty: general and domain by "
        "curate.general_share.",
        json_schema_extra={"source": "S2 (general 7 : domain 1), S3 (multi-turn, edge cases)"},
    )
    temperature: float | None = setting(
        None,
        "Parts get shares in proportion to weight · rows^(1/temperature): 1 is by size, 3 lifts small parts. Empty: "
        "by weight alone.",
        source="T5 (arXiv:1910.10683, 3.5.2), with weights",
        gt=0,
    )

    @model_validator(mode="after")
    def _parts_can_be_told(self) -> MixtureSpec:
        for name, part in self.parts.items():
            if name in ("domain", "general") and (part.matches or part.column):
                raise ValueError(f"found matches or column for {name}, which is a file's; give the part another name")
            if name not in OWN_PARTS and not (part.matches or part.column):
                raise ValueError(
                    f"found part {name} without matches or column, expected one of them (or a part of "
                    f"{', '.join(OWN_PARTS)}); say which rows belong to it"
                )
        if self.parts and not any(part.weight for part in self.parts.values()):
            raise ValueError("found no part with a weight above 0; give domain a weight of 1")
        return self
