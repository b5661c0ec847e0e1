"""Signals that are read off the completion alone, or off a number that the trainer gives: kl, length, repetition.

Each is at most 0 for what is to be avoided and 0 where there is nothing to say; only `kl`, an estimate from one sample,
may be above. Pure; knows nothing of models and weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from posttrain.training.rewards.text import Told, plain

Reward = Callable[..., list[float]]

KL_COEFFICIENT = -0.05
FREE_CHARACTERS = 500
OPENING_WORDS = 3
"""Words by which a sentence's pattern is known."""
FEWEST_SENTENCES = 3
"""Two sentences that begin alike are no pattern."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？；])|\n+")


def kl_of(coefficient: float = KL_COEFFICIENT) -> Reward:
    """The signal `kl`: the penalty for leaving the SFT model (S3).

    Reads the column `kl`: nats a completion, the sum over its tokens of log π(token) - log π_SFT(token). Range -1 to 1:
    -0.05 a nat, so that 20 nats cost 1 and more cost no more. One sample's estimate may be negative, and is then
    rewarded: cut at 0, the penalty would be biased upwards.
    """

    def kl(prompts: Sequence[Any], completions: Sequence[Any], *, kl: Sequence[float], **columns: Any) -> list[float]:
        return [max(-1.0, min(1.0, coefficient * nats)) for nats in kl]

    return kl


def length_of(characters: int = FREE_CHARACTERS) -> Reward:
    """The signal `length`: 0 up to `characters` (S3: 500), falling evenly to -1 at twice as many. Range -1 to 0."""

    def length(prompts: Sequence[Any], completions: Sequence[Told], **columns: Any) -> list[float]:
        over = [max(0, len(plain(completion)) - characters) for completion in completions]
        return [0.0 if not one else max(-1.0, -one / characters) for one in over]

    return length


def repetition_of(spare_code: bool = False) -> Reward:
    """The signal `repetition`: minus the mean of two shares (S3: words and sentence patterns). Range -1 to 0.

    One is of runs of four words that were there before, in the most repetitive stretch of some 50 words; the other of
    sentences that begin like an earlier one. JSON repeats its keys by nature and has 0 (half an object that goes
    round in circles is no JSON); so has code, where `spare_code` says that code is asked for.
    """

    def repetition(prompts: Sequence[Any], completions: Sequence[Told], **columns: Any) -> list[float]:
        import polars as pl

        from posttrain.data.text.prose import exempt, is_json
        from posttrain.data.text.repetition import distinct_shares

        texts = pl.Series([plain(completion) for completion in completions], dtype=pl.String)
        free = (exempt if spare_code else is_json)(texts).to_list()
        again = [1 - share for share in distinct_shares(texts).to_list()]
        return [
            0.0 if spared else 0.0 - (words + repeated_openings(text)) / 2
            for text, words, spared in zip(texts.to_list(), again, free, strict=True)
        ]

    return repetition


def repeated_openings(text: str) -> float:
    """Share of the sentences whose first three words were those of an earlier one; 0 with fewer than three sentences.

    >>> repeated_openings("We believe in you. We believe in me. They do not.")
    0.3333333333333333
    """
    from posttrain.data.text.words import words

    found = [words(sentence) for sentence in _SENTENCE_END.split(text)]
    openings = [tuple(sentence[:OPENING_WORDS]) for sentence in found if sentence]
    if len(openings) < FEWEST_SENTENCES:
        return 0.0
    return (len(openings) - len(set(openings))) / len(openings)
