"""Answers in prose against one known answer: shared words, their order, shared characters, and meaning.

All of them are stand-ins: a good answer may share little with the known one. Knows no model but the embedder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from posttrain.data.text.words import words
from posttrain.evaluation.metrics.metric import Answer, Cells
from posttrain.evaluation.metrics.structured import overlap
from posttrain.evaluation.metrics.totals import micro_f1

CHARACTERS = 6
"""chrF counts runs of 1 to 6 characters (Popović 2015), without blanks."""

READ_TOKENS = 64
"""Of a text, half of them from its beginning and half from its end: twice as many cost twice the time."""


def token_f1(answer: Answer) -> Cells:
    """F1 of the words, whatever their case and order; each Chinese character is one."""
    bags = [Counter(words(text)) for text in (answer.expected, answer.output)]
    return (float(micro_f1(np.array(overlap(*bags)), 1)),)


def rouge_l(answer: Answer) -> Cells:
    """ROUGE-L (Lin 2004): F1 of the longest common subsequence of words; two empty texts agree.

    Words are those of `posttrain.data.text.words`: each Chinese character is one. (The package rouge-score keeps
    a-z and 0-9 alone, so that any two Chinese texts would score 0, or 1 for what they share in digits.)
    """
    expected, found = words(answer.expected), words(answer.output)
    if not expected and not found:
        return (1.0,)
    return (2 * common_subsequence(expected, found) / (len(expected) + len(found)),)


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, by Hyyrö's (2004) bits: a row of the table is one whole number."""
    places: dict[str, int] = {}
    for place, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(left)) - 1
    row = full  # a 0 where the row above steps up
    for word in right:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(left) - row.bit_count()


def character_runs(answer: Answer) -> Cells:
    """For runs of 1 to 6 characters: those of the output, those of the expected completion, those that match."""
    expected, found = ("".join(text.split()) for text in (answer.expected, answer.output))
    counts: list[float] = []
    for size in range(1, CHARACTERS + 1):
        wanted, got = (
            Counter(text[start : start + size] for start in range(len(text) - size + 1)) for text in (expected, found)
        )
        counts += [got.total(), wanted.total(), (wanted & got).total()]
    return tuple(map(float, counts))


CHARACTER_COLUMNS = tuple(
    f"chrf_{what}_{size}" for size in range(1, CHARACTERS + 1) for what in ("found", "expected", "matched")
)


def similarity(answers: Sequence[Answer]) -> list[Cells]:
    """Cosine of each output's vector and the expected completion's.

    The vectors are those of curation (`posttrain.data.embedding`): of whole texts, so this is no BERTScore, which
    aligns tokens. A pair with a text that MiniLM cannot read (Chinese, say) is compared by its words.
    """
    texts = [text for answer in answers for text in (answer.expected, answer.output)]
    by_words = _embedder("auto").lexical(texts).reshape(-1, 2).any(axis=1).repeat(2)
    vectors: dict[tuple[str, bool], Any] = {}
    for lexical, model in ((True, "lexical"), (False, "minilm")):
        chosen = list(dict.fromkeys(text for text, flag in zip(texts, by_words, strict=True) if flag == lexical))
        if chosen:
            found = _embedder(model)(chosen).astype(np.float64)
            vectors |= {(text, lexical): vector for text, vector in zip(chosen, found, strict=True)}
    pairs = zip(texts[::2], texts[1::2], by_words[::2].tolist(), strict=True)
    return [(float(np.clip(vectors[one, how] @ vectors[other, how], -1, 1)),) for one, other, how in pairs]


@lru_cache
def _embedder(model: str) -> Any:
    from posttrain.data.embedding.embed import Embedder

    return Embedder(model, READ_TOKENS)
