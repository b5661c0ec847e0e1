"""Completions as numbers: how varied they are, how alike they open, how long they are, which words they use.

Pure; words are those of `posttrain.data.text.words`, so that a Chinese character counts as one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from posttrain.data.text.words import words

# Longer completions repeat words by being longer: what is counted of each is alike.
COUNTED = 64
KEPT_WORDS = 60


def measure(prompts: Sequence[str], completions: Sequence[str], opening_words: int) -> dict[str, float]:
    """What a batch of completions comes to; empty for no completions.

    `distinct_2`: distinct pairs of words of all pairs, over the batch (Li et al., arXiv 1510.03055). `openings`: share
    of the pairs of completions to different prompts whose first words are the same. `word_entropy`: bits a word.
    `words`: mean number of words. Without prompts every completion counts as an answer to one of its own.
    """
    if not completions:
        return {}
    said = [words(text) for text in completions]
    asked = list(prompts) if prompts else [str(number) for number in range(len(said))]
    counted = [line[:COUNTED] for line in said]
    return {
        "distinct_2": _distinct_pairs(counted),
        "openings": _alike(asked, [tuple(line[:opening_words]) for line in said]),
        "word_entropy": _entropy(Counter(word for line in counted for word in line)),
        "words": fmean(len(line) for line in said),
    }


def common_words(completions: Sequence[str]) -> dict[str, float]:
    """The words that most completions hold, with the share that does; each completion counts once."""
    held = Counter(word for text in completions for word in set(words(text)))
    most = sorted(held.items(), key=lambda item: (-item[1], item[0]))[:KEPT_WORDS]
    return {word: count / len(completions) for word, count in most}


def _distinct_pairs(lines: Iterable[Sequence[str]]) -> float:
    # The beginning counts as a word, or answers of one word each would have no pair that could be the same.
    pairs = [pair for line in lines for pair in pairwise(["", *line])]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def _alike(prompts: Sequence[str], openings: Sequence[tuple[str, ...]]) -> float:
    """Of the pairs whose prompts differ, those whose openings are the same."""
    same = _pairs(Counter(openings)) - _pairs(Counter(zip(openings, prompts, strict=True)))
    apart = len(prompts) * (len(prompts) - 1) // 2 - _pairs(Counter(prompts))
    return same / apart if apart else 0.0


def _pairs(groups: Mapping[Any, int]) -> int:
    return sum(count * (count - 1) // 2 for count in groups.values())


def _entropy(counts: Counter[str]) -> float:
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values()) if total else 0.0
