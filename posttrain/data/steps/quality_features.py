"""A prompt and its answer as sparse features for a linear classifier of quality; see `quality.py` for why these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import polars as pl

FEATURES = 2**18
READ = 4000
"""Characters of an answer that are looked at: the first and the last half of this."""
WEIGHT = 3
"""How often a relation counts as much as a word."""

_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]|\n")
_CONTENT = 4
"""Letters of a word that says what is asked for: it leaves out the, of, and."""


def matrix(prompts: pl.Series, answers: pl.Series) -> Any:
    """Sparse features, shape (rows, FEATURES), each row of length 1; the same for a row whatever rows are beside it."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(analyzer=_features, n_features=FEATURES, norm="l2", alternate_sign=False)
    return hashing.transform(zip(prompts.to_list(), answers.to_list(), strict=True))


def _features(row: tuple[str, str]) -> Iterator[str]:
    prompt, answer = row
    found = _tokens(answer)
    yield from found
    ends = ["<start>", *found, "<end>"]
    yield from (f"{first} {second}" for first, second in pairwise(ends))
    for relation in _relations(_tokens(prompt), found):
        yield from [relation] * WEIGHT


def _tokens(text: str) -> list[str]:
    half = READ // 2
    shown = text if len(text) <= READ else text[:half] + "\n" + text[-half:]
    return _TOKEN.findall(shown.casefold())


def _relations(prompt: list[str], answer: list[str]) -> tuple[str, str, str]:
    """How long the answer is (powers of two), how much of the prompt it takes up, how many of its pairs are new."""
    asked = {word for word in prompt if len(word) >= _CONTENT or "\u3040" <= word[0] <= "\u9fff"}
    taken = len(asked & set(answer)) / len(asked) if asked else 0
    pairs = list(pairwise(answer))
    new = len(set(pairs)) / len(pairs) if pairs else 1
    return f"#long {len(answer).bit_length()}", f"#asked {round(4 * taken)}", f"#new {round(8 * new)}"
