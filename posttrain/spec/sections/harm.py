"""`curate.harm`: words that an answer ought not to hold."""

from __future__ import annotations

from pydantic import Field

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting

BUILT_IN = ("en", "zh")
"""Word lists that ship with Posttrain."""


class HarmSpec(Frozen):
    """Words that an answer ought not to hold: clear cases are dropped, unsure ones go to review."""

    word_lists: list[str] = Field(
        default_factory=lambda: list(BUILT_IN),
        description="Built-in lists (en, zh) and files of your own in the project's folder, a word or phrase a line, # "
        "for comments; one word of your own is enough to drop a row. Empty: the filter is off.",
        json_schema_extra={"source": "S3"},
    )
    allowed: list[str] = Field(
        default_factory=list,
        description="Words that are fine in your field, though a list has them: medicine, law, breeds of dogs.",
        json_schema_extra={"source": "this project"},
    )
    keep_refusals: bool = setting(
        True,
        "Leave rows alone whose answer refuses: safety data is kept in, though it speaks of harm.",
        source="S2",
    )
    prompts: bool = setting(
        False, "Look at prompts too, unless the answer refuses; else a harmful request with a good answer stays."
    )
