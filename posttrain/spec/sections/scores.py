"""`curate.scores`: what models make of a row: how much its answer surprises one, how well another likes it."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting


class PerplexitySpec(Frozen):
    """Rows whose answers surprise a language model most: garbled text, and some that is only unusual."""

    model: str = setting("", "Folder or Hugging Face id of a causal language model; empty: the spec's base model.")
    drop_top: float = setting(
        0.01, "Share of rows, those with the highest perplexity, that is set aside; 0: none.", source="S2", ge=0, lt=1
    )
    max: float | None = setting(None, "Rows with a higher perplexity are set aside too; empty: none are.", gt=1)
    min_tokens: int = setting(8, "Answers of fewer tokens are not judged: their perplexity is chance.", ge=1)
    max_tokens: int = setting(256, "Tokens of prompt and answer that are read; of a longer prompt, its end.", ge=16)
    verdict: Literal["drop", "review"] = setting("review", "What becomes of the rows set aside.")


class RewardSpec(Frozen):
    """Rows whose answers a reward model likes least."""

    model: str = required(
        "Folder or Hugging Face id of a reward model: a sequence classifier with one score.", min_length=1
    )
    min: float | None = setting(None, "Rows with a lower score are set aside; empty: none are.")
    drop_bottom: float = setting(
        0.0, "Share of rows, those with the lowest scores, that is set aside; 0: none.", source="S1, S2", ge=0, lt=1
    )
    max_tokens: int = setting(512, "Tokens of prompt and answer that are read.", ge=16)
    verdict: Literal["drop", "review"] = setting("drop", "What becomes of the rows set aside.")

    @model_validator(mode="after")
    def _sets_something_aside(self) -> RewardSpec:
        if self.min is None and not self.drop_bottom:
            raise ValueError("found neither min nor drop_bottom, expected one; say which rows are set aside")
        return self


class ScoresSpec(Frozen):
    """Models that judge rows; each is off unless its section is there."""

    perplexity: PerplexitySpec | None = setting(
        None, "Set aside what surprises a language model; `perplexity: {}` for every default.", source="S2"
    )
    reward: RewardSpec | None = setting(None, "Set aside what a reward model does not like.", source="S2")
